"""Motion priors: phrases chained into one continuous motion on the beats of a song."""
