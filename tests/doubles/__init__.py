"""What stands for the world outside a node: names, servers, and all that reached them."""
