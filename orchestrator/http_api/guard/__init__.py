"""What stands between the network and the routes: access control, deadlines and limits.

Owns addresses, the token, Host and Origin checks, deadlines and caps. Knows no route, except which ones take uploads.
"""
