"""A site with a waiting list: an application with a flow of its own."""
