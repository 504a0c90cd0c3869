"""`run --crash-test`: kills a sandbox run again and again, lets it finish, and audits the outcome."""
