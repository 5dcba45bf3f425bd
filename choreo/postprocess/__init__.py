"""Post-processing: from decoded joint positions to a rigid body with planted feet."""
