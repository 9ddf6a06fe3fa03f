package chaos

// pending are the checks that fail under these faults until the instances keep a journal of what they acknowledged and
// showed, and wait for each other before a new generation: what Redis alone had is gone, and an instance that has not
// heard of the new generation answers from the old one. It goes when they come.
var pending = map[string][]string{
	"redis-killed":    {WentBack},
	"redis-emptied":   onlyInRedis,
	"power-loss":      onlyInRedis,
	"flushall":        onlyInRedis,
	"flushall-young":  onlyInRedis,
	"lagging-replica": onlyInRedis,
	"demote-promote":  onlyInRedis,
	"two-masters":     onlyInRedis,
	"sentinel":        onlyInRedis,
	"cluster":         onlyInRedis,
}

var onlyInRedis = []string{Lost, Vanished, WrongSeq, Duplicate, WentBack, Reordered, Gap, Unread}
