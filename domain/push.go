package domain

// Push is an accepted message on its way to the connections of an instance.
type Push struct {
	Group string
	Gen   int64
	Seq   int64
	Mute  string // connection that gets no push of it; "" for none
	Event []byte // what clients get: the message event, encoded once
}
