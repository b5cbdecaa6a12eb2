"""What many systems share: data that ships with packages, metrics, small models, pictures."""
