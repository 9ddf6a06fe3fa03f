package chaos

// pending are the checks that fail until the journal of the instances and the settling barrier are there: a fault that
// takes away what Redis alone has. It goes when they come.
var pending = map[string][]string{}
