"""Our application, and the floor that it is measured against."""
