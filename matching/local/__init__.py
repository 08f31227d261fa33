"""Local matching of two images: tentative matches and robust geometry."""
