"""What terminals and shells need: tables that fit, the arguments of verbs, the completion of lines."""
