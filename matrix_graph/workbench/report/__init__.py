"""A run as one page: who lived there, what happened, which rows came of it, and what it cost."""
