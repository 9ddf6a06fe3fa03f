package chaos

import "time"

// History is what the clients of a run did and saw, and what the stores held in the end. Moments are counted from the
// start of the run, by the clock of the process that records.
type History struct {
	Attempts []Attempt
	Reads    []Read
	Views    []View
	Marks    []Mark
	Rows     []Row
	Holes    []Hole
	Ranking  *Ranking // nil: not asked
}

// Attempt is one try of a client to send a message, and its answer.
type Attempt struct {
	Conn     int // number of the connection, unique in the run
	Order    int // of writing on the connection
	User     string
	Group    string
	ClientID string // names the message, unique in the run; its retries have the same, if it can have any
	Sent     time.Duration
	Answered time.Duration // 0: no answer came
	Code     string        // of the error; "" with an answer: ok
	Retry    bool          // the error may be tried again
	Seq      int64
	Repeat   bool // the answer says duplicate
	Durable  bool // the answer says durable
	Stored   Lookup
}

// OK tells that the message was acknowledged.
func (a *Attempt) OK() bool { return a.Answered > 0 && a.Code == "" }

// Lookup is what MySQL said about a row when it was asked at once.
type Lookup int

// The answers: MySQL was not asked or did not answer, had the row, did not have it.
const (
	NotAsked Lookup = iota
	Found
	Missing
)

// Read is a read mark that a user set.
type Read struct {
	User, Group string
	Seq         int64 // asked for
	Answer      int64 // read_seq of the answer; 0: no answer, or an error
}

// View is what one user has of one group, over all his connections. He follows the protocol: he asks from his cursor on,
// and what is pushed moves it.
type View struct {
	User, Group string
	Steps       []Step
}

// Step is one thing that a view was told.
type Step struct {
	Kind     StepKind
	At       time.Duration
	Conn     int
	Asked    time.Duration // Page: when
	After    int64         // Page: asked for what is behind this seq; Resync: to go on from
	MaxSeq   int64         // Page
	Joins    bool          // Page: of subscribe, whose max_seq is where pushes go on, and may be behind the group's
	Messages []Message     // Page: ascending; Push: one
	Holes    []Hole        // Page
	More     bool          // Page
	Previous int64         // Push: the seq before it in the group
	Live     bool          // Push: behind the answer of the subscription, so it counts
}

// StepKind says what a step is.
type StepKind int

// Page is the answer of subscribe, sync or pull. Push is the event of a message. Resync tells that the view is not
// subscribed any more and goes on from After.
const (
	Page StepKind = iota
	Push
	Resync
)

// Message is one as a client sees it; ID is its client_id.
type Message struct {
	Seq int64
	ID  string
}

// Hole is a range of seqs without messages, both ends inclusive; Group is set where it is a row of MySQL.
type Hole struct {
	Group    string
	From, To int64
}

// Row is a message in MySQL.
type Row struct {
	Group, User, ClientID string
	Seq, TimeMS           int64
}

// Mark is what a user is told about a group when all has come to rest.
type Mark struct {
	User, Group  string
	Read, Unread int64
}

// Ranking is the list of hot groups when all has come to rest.
type Ranking struct {
	TimeMS, WindowMS int64
	Entries          []Entry
}

// Entry is a line of the ranking.
type Entry struct {
	Group  string
	Heat   int
	LastMS int64
}
