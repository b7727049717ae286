"""compose.yaml and the image: read as a container engine reads them, and run without one."""
