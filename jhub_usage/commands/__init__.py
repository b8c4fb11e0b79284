"""What each command of the shell does, one module per topic; ``tree`` has their options."""
