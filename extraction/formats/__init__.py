"""Feature files of other programs: official DELG files, hloc, AMES, CSV."""
