package bench

import "time"

const templateRoom = 256 // a send without its text, at most

// SendConfig says what Send does.
type SendConfig struct {
	Base

	Connections int // [200] one user each, in one group each
	Groups      int // [100] at most Connections
	InFlight    int // [1] unanswered sends of a connection
	Batch       int // [1] sends in one frame at most; above 1, what one received frame set free leaves in one frame
	Bytes       int // [128] of text in a message

	Duration time.Duration // [10 s, without Messages] measured, after Warmup
	Messages int64         // measured messages; the run ends with whichever of the two comes first
	Warmup   time.Duration // [2 s] load that is checked but not measured; negative: none
	Settle   time.Duration // [5 s] after the load, for the last answers and pushes

	// MySQLDSN (go-sql-driver form) makes Send wait until every acked message is a row of group_msg.
	MySQLDSN    string
	PersistWait time.Duration // [60 s] after the load; rows still missing then are lost: Wrong

	// Targets; 0: none. Not reaching one is Missed.
	MinRate    float64       // acked messages per second
	MaxCPU     float64       // µs per acked message, all PIDs together
	MaxPersist time.Duration // from the end of the load to the last row
}

func (c SendConfig) withDefaults() SendConfig {
	c.Base = c.Base.withDefaults()
	orInt(&c.Connections, 200)
	orInt(&c.Groups, 100)
	orInt(&c.InFlight, 1)
	orInt(&c.Batch, 1)
	orInt(&c.Bytes, 128)
	if c.Duration == 0 && c.Messages == 0 {
		c.Duration = 10 * time.Second
	}
	orDuration(&c.Warmup, 2*time.Second)
	orDuration(&c.Settle, 5*time.Second)
	orDuration(&c.PersistWait, time.Minute)
	return c
}

func (c SendConfig) validate() error {
	var m mistakes
	c.check(&m)
	m.when(c.Connections < 1, "connections: %d", c.Connections)
	m.when(c.Groups < 1 || c.Groups > c.Connections, "groups: %d, want 1 to the number of connections (%d)", c.Groups, c.Connections)
	m.when(c.InFlight < 1 || c.InFlight > maxInFlight, "in flight: %d, want 1 to %d", c.InFlight, maxInFlight)
	m.when(c.Batch < 1 || c.Batch > sendsAFrame, "batch: %d, want 1 to %d", c.Batch, sendsAFrame)
	m.when((c.Bytes+templateRoom)*c.Batch > frameBytes, "batch: %d messages of %d bytes do not fit a frame of %d", c.Batch, c.Bytes, frameBytes)
	checkText(&m, c.Bytes)
	m.when(c.Duration < 0 || c.Messages < 0, "negative duration or number of messages")
	m.when(c.Settle < 0 || c.PersistWait < 0, "negative timeout")
	c.checkProcesses(&m, c.MaxCPU)
	return m.err()
}
