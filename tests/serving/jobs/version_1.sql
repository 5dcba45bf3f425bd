CREATE TABLE choreo_jobs_about (version INTEGER NOT NULL, PRIMARY KEY (version));
CREATE TABLE choreo_jobs (
  id VARCHAR(40) NOT NULL, state VARCHAR(16) NOT NULL, total INTEGER NOT NULL, succeeded INTEGER NOT NULL,
  failed INTEGER NOT NULL, cancelled INTEGER NOT NULL, bytes BIGINT NOT NULL, created_at FLOAT NOT NULL,
  started_at FLOAT, ended_at FLOAT, idempotency_key VARCHAR(128), body_hash VARCHAR(64) NOT NULL, webhook_url TEXT,
  PRIMARY KEY (id), UNIQUE (idempotency_key)
);
CREATE INDEX choreo_jobs_by_end ON choreo_jobs (ended_at);
CREATE INDEX choreo_jobs_by_state ON choreo_jobs (state, id);
CREATE TABLE choreo_job_items (
  job_id VARCHAR(40) NOT NULL, position INTEGER NOT NULL, custom_id VARCHAR(256), state VARCHAR(16) NOT NULL,
  fields JSON NOT NULL, parts JSON NOT NULL, attempts INTEGER NOT NULL, not_before FLOAT NOT NULL, owner VARCHAR(160),
  lease_until FLOAT, result JSON, error JSON,
  PRIMARY KEY (job_id, position), FOREIGN KEY (job_id) REFERENCES choreo_jobs (id) ON DELETE CASCADE
);
CREATE INDEX choreo_job_items_by_state ON choreo_job_items (state, job_id, position);
CREATE TABLE choreo_job_webhooks (
  job_id VARCHAR(40) NOT NULL, id VARCHAR(40) NOT NULL, state VARCHAR(16) NOT NULL, url TEXT NOT NULL,
  body TEXT NOT NULL, attempts INTEGER NOT NULL, next_at FLOAT NOT NULL, error TEXT,
  PRIMARY KEY (job_id), FOREIGN KEY (job_id) REFERENCES choreo_jobs (id) ON DELETE CASCADE
);
CREATE INDEX choreo_job_webhooks_due ON choreo_job_webhooks (state, next_at);
INSERT INTO choreo_jobs_about (version) VALUES (1);
INSERT INTO choreo_jobs VALUES (
  'job-000000000001-0000000000000001', 'queued', 1, 0, 0, 0, 10, 1.0, NULL, NULL, 'order-1', 'hash', NULL
);
INSERT INTO choreo_job_items VALUES (
  'job-000000000001-0000000000000001', 0, NULL, 'queued', '{"seed": 7}', '{}', 0, 0.0, NULL, NULL, NULL, NULL
);
