"""A site for the invited: an application with a flow of its own."""
