"""What `refkeep doctor` looks at: one module for each part of a deployment, which changes nothing and never raises."""
