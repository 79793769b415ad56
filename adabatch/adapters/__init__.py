"""The library in other projects' trainers; each adapter needs the project that it is for: ``adabatch[adapters]``."""
