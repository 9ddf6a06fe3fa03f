package domain

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	letterPage  = 100
	tellTimeout = 10 * time.Second // to tell Redis and clients what is stored, also when the caller has given up
)

// DeadLetter is an accepted message that MySQL refused to store: its seq is a hole, and it is kept to be tried again.
type DeadLetter struct {
	Message
	Reason    string // why it was refused, without anything of its content
	CreatedMS int64  // when it was put aside
}

// LetterQuery asks for dead letters, ordered by group and seq.
type LetterQuery struct {
	Group      string // "": of all groups
	AfterGroup string // behind this one
	AfterSeq   int64
	Limit      int
}

// LetterLister lists dead letters, by group and seq.
type LetterLister interface {
	DeadLetters(ctx context.Context, q LetterQuery) ([]DeadLetter, error)
}

// LetterStore is the MySQL side of dead letters.
type LetterStore interface {
	HoleStore
	LetterLister
	// RetryDeadLetter stores a letter's message and forgets the letter, in one transaction; filled has the lowest seq that came
	// back in each group. stored is nil where the message is not wanted any more. not_found: there is no such letter (any
	// more). An error with a method Refused() (reason string): it is refused again, and nothing has changed.
	RetryDeadLetter(ctx context.Context, group string, seq int64) (stored *Message, filled map[string]int64, err error)
	// Messages answers a range with the rows there are.
	Messages(ctx context.Context, r Range) ([]Record, error)
}

// LetterCache is the Redis side of dead letters.
type LetterCache interface {
	RepairCache
	// RememberSends lets repeats of sends be known again, by group.
	RememberSends(ctx context.Context, sends map[string][]RecentSend) error
}

// LetterID names a dead letter.
type LetterID struct {
	Group string
	Seq   int64
}

// LetterOutcome is what became of a dead letter.
type LetterOutcome string

const (
	LetterStored    LetterOutcome = "stored"
	LetterRefused   LetterOutcome = "refused" // again
	LetterNotNeeded LetterOutcome = "not_needed"
	LetterToldAgain LetterOutcome = "told_again" // a former retry has stored it, and may have failed behind that
	LetterUnknown   LetterOutcome = "unknown"    // there is no such letter
)

// LetterResult is the outcome of one.
type LetterResult struct {
	LetterID
	Outcome LetterOutcome
	Reason  string // of a refusal
	// Unremembered is why repeats of the send, now stored, are not known as such; nil if they are.
	Unremembered error
}

// EachLetter goes through the dead letters, of one group or with group "" of all, page by page.
func EachLetter(ctx context.Context, store LetterLister, group string, do func(page []DeadLetter) error) error {
	for q := (LetterQuery{Group: group, Limit: letterPage}); ; {
		page, err := store.DeadLetters(ctx, q)
		if err != nil || len(page) == 0 {
			return err
		}
		if err := do(page); err != nil {
			return err
		}
		last := page[len(page)-1]
		q.AfterGroup, q.AfterSeq = last.Group, last.Seq
	}
}

// Letters lists dead letters and stores them after all.
type Letters struct {
	store    LetterStore
	cache    LetterCache
	repairer *Repairer
}

// NewLetters puts the two sides together.
func NewLetters(store LetterStore, cache LetterCache) *Letters {
	return &Letters{store: store, cache: cache, repairer: NewRepairer(store, cache)}
}

// List is a page of dead letters.
func (l *Letters) List(ctx context.Context, q LetterQuery) ([]DeadLetter, error) {
	return l.store.DeadLetters(ctx, q)
}

// RetryAll retries those of one group, or with group "" of all.
func (l *Letters) RetryAll(ctx context.Context, group string, told func(LetterResult)) error {
	return EachLetter(ctx, l.store, group, func(page []DeadLetter) error {
		ids := make([]LetterID, len(page))
		for i := range page {
			ids[i] = LetterID{page[i].Group, page[i].Seq}
		}
		return l.Retry(ctx, ids, told)
	})
}

// Retry stores letters at their seqs, and then tells Redis and clients what came back, also when it ends early. told is
// called for each as it is done.
func (l *Letters) Retry(ctx context.Context, letters []LetterID, told func(LetterResult)) (err error) {
	filled := make(map[string]int64)
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tellTimeout)
		defer cancel()
		if tellErr := l.repairer.Repaired(ctx, filled); tellErr != nil {
			err = errors.Join(err, fmt.Errorf("stored, but not told; name these groups and seqs in another retry: %w", tellErr))
		}
	}()
	for _, id := range letters {
		result, first, err := l.one(ctx, id)
		if err != nil {
			return err
		}
		if first > 0 && (filled[id.Group] == 0 || first < filled[id.Group]) {
			filled[id.Group] = first
		}
		told(result)
	}
	return nil
}

// one retries a letter; first is the seq from which on history has to be told anew, 0 for none.
func (l *Letters) one(ctx context.Context, id LetterID) (result LetterResult, first int64, err error) {
	result.LetterID = id
	stored, filled, err := l.store.RetryDeadLetter(ctx, id.Group, id.Seq)
	var refusal interface{ Refused() (reason string) }
	switch {
	case errors.As(err, &refusal):
		result.Outcome, result.Reason = LetterRefused, refusal.Refused()
		return result, 0, nil
	case CodeOf(err) == CodeNotFound:
		result.Outcome, err = l.whether(ctx, id)
		if result.Outcome == LetterToldAgain {
			first = id.Seq
		}
		return result, first, err
	case err != nil:
		return result, 0, err
	case stored == nil:
		result.Outcome = LetterNotNeeded
	default:
		result.Outcome = LetterStored
		if send, ok := stored.RecentSend(); ok { // its sender was told to repeat it
			result.Unremembered = l.cache.RememberSends(ctx, map[string][]RecentSend{id.Group: {send}})
		}
	}
	return result, filled[id.Group], nil
}

// whether tells if what is no letter is a message.
func (l *Letters) whether(ctx context.Context, id LetterID) (LetterOutcome, error) {
	rows, err := l.store.Messages(ctx, Range{Group: id.Group, From: id.Seq, To: id.Seq, Limit: 1})
	if err != nil || len(rows) == 0 {
		return LetterUnknown, err
	}
	return LetterToldAgain, nil
}
