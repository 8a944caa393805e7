"""What the solvers make of hard inputs."""
