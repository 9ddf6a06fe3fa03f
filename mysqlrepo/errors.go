package mysqlrepo

import (
	"errors"
	"fmt"

	"hearth/domain"
)

// What errors.Is finds in errors of rules that said no.
var (
	// ErrFenced: the messages are of a generation that may no longer be written. See [FencedError].
	ErrFenced = errors.New("a newer generation is settled")
	// ErrSeqTaken: another message is stored under a seq. See [SeqTakenError].
	ErrSeqTaken = errors.New("the seq has another message")
	// ErrGeneration: the partition is not (or no longer) in the generation asked for, or that one is not settled.
	ErrGeneration = fmt.Errorf("not the partition's settled generation: %w", domain.ErrOvertaken)
)

// FencedError refuses messages of a generation that is older than the settled one.
type FencedError struct {
	Partition    int
	Gen, Settled int64
}

func (e *FencedError) Error() string {
	return fmt.Sprintf("partition %d: messages of generation %d, but %d is settled", e.Partition, e.Gen, e.Settled)
}

// Is makes errors.Is(err, ErrFenced) true.
func (e *FencedError) Is(target error) bool { return target == ErrFenced }

// Fenced is the partition; packages that must not import this one find it with errors.As and an interface.
func (e *FencedError) Fenced() (partition int) { return e.Partition }

// SeqTakenError tells that two messages got one seq: what the generations are there to prevent.
type SeqTakenError struct {
	Group string
	Seq   int64
}

func (e *SeqTakenError) Error() string {
	return fmt.Sprintf("message %s/%d: the seq has another message", e.Group, e.Seq)
}

// Is makes errors.Is(err, ErrSeqTaken) true.
func (e *SeqTakenError) Is(target error) bool { return target == ErrSeqTaken }

// SeqTaken names the message; packages that must not import this one find it with errors.As and an interface.
func (e *SeqTakenError) SeqTaken() (group string, seq int64) { return e.Group, e.Seq }

// Refused is the reason; see refusedError.
func (e *SeqTakenError) Refused() (reason string) { return e.Error() }

// refusedError keeps the database's text to itself: it quotes values.
type refusedError struct {
	dialect *dialect
	err     error
}

func (e *refusedError) Error() string {
	return fmt.Sprintf("%s refuses the values, error %d", e.dialect.name, e.dialect.number(e.err))
}

func (e *refusedError) Unwrap() error { return e.err }

// Refused tells that the same rows will be refused again, and why, without values; packages that must not import this one
// find it with errors.As and an interface.
func (e *refusedError) Refused() (reason string) { return e.Error() }
