package domain

// Push is an accepted message on its way to the connections of an instance.
type Push struct {
	Group string
	Gen   int64
	Seq   int64
	Mute  string // connection that gets no push of it; "" for none
	Event []byte // what clients get: the message event, encoded once
	Hash  string // content hash, where the body was replaced and it does not follow from it; "" for most
}

// Notice is an event without a seq on its way to the connections of an instance.
type Notice struct {
	Except    string // id of the connection that does not get it, or ExceptUser; "" for none
	Event     []byte // encoded once; nil when there is nothing to tell
	Came      string // user who is a member now: he is told by his notes
	Gone      string // user who is no member any more: his subscriptions from before Version end, and his notes tell him
	Version   int64  // of the group when he came or went
	Dismissed bool   // all subscriptions end behind the event
	// Repaired tells that messages came back above After, below what may have been handed out: all subscriptions end, to
	// be begun again there.
	Repaired bool
	After    int64
	// Recall is set when the event tells of one: the message it names is shown without content from now on.
	Recall *Recall
}

// ExceptUser is the Except of what none of a user's connections get. No connection is called so.
func ExceptUser(user string) string { return "@" + user }
