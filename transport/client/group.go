package client

// fromHere is the cursor of a group whose messages are wanted from the subscription on.
const fromHere = -1

// group is one followed group.
type group struct {
	id string
	// cursor: every seq up to it was handed out or is a hole; fromHere until the first subscription is there.
	cursor int64
	// young: the server made the subscription before the cursor was known. The first push may lower it.
	young bool

	// While a repair goes on, rewound is where the next page starts, below the cursor, and messages up to repairTo go
	// to OnRepair.
	rewound, repairTo int64

	phase   phase
	request *request // while asked; compared by pointer
	again   bool     // once more: pushes or the subscription were dropped, maybe behind what the reply covers
	retry   backoff
}

// phase is how far a group has got on this connection.
type phase int

const (
	idle    phase = iota // no connection, or not followed any more
	due                  // waits for its turn to subscribe
	asked                // subscribe is under way
	waiting              // for another attempt
	live                 // caught up
)

// request is a subscribe under way.
type request struct{ after int64 }

// position is where the next page starts.
func (g *group) position() int64 {
	if g.repairTo > 0 {
		return g.rewound
	}
	return g.cursor
}

// rewind makes the next pages start at after, below the cursor.
func (g *group) rewind(after int64) {
	if g.repairTo > 0 {
		after = min(after, g.rewound)
	}
	g.rewound, g.repairTo = after, g.cursor
}

// read tells that pages up to seq were read.
func (g *group) read(seq int64) {
	if g.repairTo == 0 {
		return
	}
	if g.rewound = max(g.rewound, seq); g.rewound >= g.repairTo {
		g.rewound, g.repairTo = 0, 0
	}
}

// begin lets a young group start with its first push.
func (g *group) begin(p *push) {
	if g.cursor == fromHere || g.young && p.Seq <= g.cursor {
		g.cursor = p.prevSeq
	}
	g.young = false
}

// fits reports whether nothing is missing before a push.
func (g *group) fits(p *push) bool { return p.prevSeq <= g.cursor && g.cursor < p.Seq }
