"""Pictures for people: highlighted views, videos, contact sheets, timelines."""
