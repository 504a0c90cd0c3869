"""Who may ask, and how much patience a connection gets: what stands between the network and the routes.

Owns addresses, the token, Host and Origin, deadlines and caps. Knows no route but for which ones take uploads.
"""
