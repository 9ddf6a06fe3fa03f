package domain

import (
	"bytes"
	"context"
	"encoding/json"
	"unicode/utf8"
)

const (
	MaxSignalKind = 64      // bytes
	MaxSignalData = 4 << 10 // bytes, without insignificant white space
)

// Signal is something for those who are there now: it has no seq and is not stored.
type Signal struct {
	Group    string
	From     string
	Operator string // key id of the app server that sends; "" for users
	Kind     string
	Data     json.RawMessage // nil for none
	Open     bool            // the sender named a user, not a group
	Except   string          // id of the connection that does not get it; "" for none
}

// SignalStore hands signals out: Redis.
type SignalStore interface {
	// Signal checks that the sender may, and publishes. A refusal is an *Error; any other error leaves open whether
	// the signal went out.
	Signal(ctx context.Context, s Signal) (SignalOutcome, error)
}

// SignalOutcome tells that a signal went out, or what has to be brought back into Redis first.
type SignalOutcome struct {
	Missing   Missing
	Partition int   // where it is missing
	Gen       int64 // in which generation
}

// Signals is the path of a signal.
type Signals struct {
	store    SignalStore
	recovery *Recovery
}

// NewSignals makes the use case.
func NewSignals(store SignalStore, recovery *Recovery) *Signals {
	return &Signals{store: store, recovery: recovery}
}

// Send hands a signal to all who are subscribed now. It blocks while Redis has to be filled, 5 s at most. A direct
// conversation is not opened by it: stranger_limit where s.Open names one that does not exist.
func (s *Signals) Send(ctx context.Context, sig Signal) error {
	if err := sig.check(); err != nil {
		return err
	}
	return untilNothingIsMissing(ctx, func(ctx context.Context) (lack, error) {
		outcome, err := s.store.Signal(ctx, sig)
		return lack(outcome), asRefusal(err, "signal in "+sig.Group)
	}, func(ctx context.Context, what lack) error {
		err := s.recovery.fill(ctx, sig.Group, what)
		if sig.Open && what.Missing == MissingGroup && CodeOf(err) == CodeNotFound {
			return StrangerLimit() // who never wrote there knows nothing of the sender
		}
		return err
	})
}

// check also takes insignificant white space out of the data, so that the event is one line.
func (s *Signal) check() error {
	if err := checkTarget(s.Group, s.Open); err != nil {
		return err
	}
	if len(s.Kind) == 0 || len(s.Kind) > MaxSignalKind || !utf8.ValidString(s.Kind) {
		return BadField("kind", "must be text of 1 to %d bytes", MaxSignalKind)
	}
	if len(s.Data) == 0 {
		return nil
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, s.Data); err != nil || !utf8.Valid(s.Data) {
		return BadField("data", "must be JSON")
	}
	if compact.Len() > MaxSignalData {
		return TooLarge("data", "at most %d bytes", MaxSignalData)
	}
	s.Data = compact.Bytes()
	return nil
}
