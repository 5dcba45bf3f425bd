"""From raw decoded motion to a rigid body with planted feet."""
