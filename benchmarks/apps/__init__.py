"""Our application, and the baseline that it is measured against."""
