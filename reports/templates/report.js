{{data}}
