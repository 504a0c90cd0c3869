"""`run --crash-test`: kills a sandbox run at every crash point, lets it finish, and audits the outcome."""
