package domain_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"hearth/domain"
)

// letterBox is both sides of dead letters: what MySQL says to each retry is given.
type letterBox struct {
	repairStores
	letters    []domain.DeadLetter
	answers    map[domain.LetterID]error // nil: it is stored
	rows       map[domain.LetterID]bool
	unwanted   domain.LetterID
	remembered []string
	forgets    bool // Redis takes no sends
}

type refusedError struct{}

func (refusedError) Error() string   { return "refused" }
func (refusedError) Refused() string { return "a trigger says no" }

func (b *letterBox) DeadLetters(_ context.Context, q domain.LetterQuery) (page []domain.DeadLetter, err error) {
	for _, l := range b.letters {
		behind := l.Group > q.AfterGroup || l.Group == q.AfterGroup && l.Seq > q.AfterSeq
		if behind && (q.Group == "" || l.Group == q.Group) && len(page) < q.Limit {
			page = append(page, l)
		}
	}
	return page, nil
}

func (b *letterBox) RetryDeadLetter(_ context.Context, group string, seq int64) (*domain.Message, map[string]int64, error) {
	id := domain.LetterID{Group: group, Seq: seq}
	if err := b.answers[id]; err != nil {
		return nil, nil, err
	}
	if id == b.unwanted {
		return nil, nil, nil
	}
	m := &domain.Message{Group: group, Seq: seq, Header: domain.Header{From: "ann", ClientID: "c"}}
	return m, map[string]int64{group: seq}, nil
}

func (b *letterBox) Messages(_ context.Context, r domain.Range) ([]domain.Record, error) {
	if !b.rows[domain.LetterID{Group: r.Group, Seq: r.From}] {
		return nil, nil
	}
	return []domain.Record{{Group: r.Group, Seq: r.From}}, nil
}

func (b *letterBox) RememberSends(_ context.Context, sends map[string][]domain.RecentSend) error {
	if b.forgets {
		return errDown
	}
	for group, list := range sends {
		b.remembered = append(b.remembered, fmt.Sprint(group, " ", list[0].Seq))
	}
	return nil
}

func retryAll(t *testing.T, b *letterBox, group string) (outcomes []string, err error) {
	t.Helper()
	err = domain.NewLetters(b, b).RetryAll(t.Context(), group, func(r domain.LetterResult) {
		outcomes = append(outcomes, fmt.Sprint(r.Group, " ", r.Seq, " ", r.Outcome, r.Reason, r.Unremembered != nil))
	})
	return outcomes, err
}

func letter(group string, seq int64) domain.DeadLetter {
	return domain.DeadLetter{Message: domain.Message{Group: group, Seq: seq}}
}

func TestRetryTellsWhatBecameOfEachLetter(t *testing.T) {
	t.Parallel()
	b := &letterBox{
		letters: []domain.DeadLetter{letter("a", 3), letter("a", 5), letter("a", 7), letter("b", 2)},
		answers: map[domain.LetterID]error{{Group: "a", Seq: 5}: refusedError{}}, unwanted: domain.LetterID{Group: "b", Seq: 2},
	}
	outcomes, err := retryAll(t, b, "")
	require.NoError(t, err)
	require.Equal(t, []string{"a 3 storedfalse", "a 5 refuseda trigger says nofalse", "a 7 storedfalse", "b 2 not_neededfalse"}, outcomes)
	require.Equal(t, []string{"a 3", "a 7"}, b.remembered)
	require.Equal(t, []string{"a has 0", "a repaired above 2"}, b.told, "once a group, from the lowest on")

	b.told = nil
	outcomes, err = retryAll(t, b, "b")
	require.NoError(t, err)
	require.Len(t, outcomes, 1)
	require.Empty(t, b.told)
}

func TestRetryOfNoLetterTellsAMessageAgain(t *testing.T) {
	t.Parallel()
	stored, nothing := domain.LetterID{Group: "a", Seq: 3}, domain.LetterID{Group: "a", Seq: 4}
	gone := domain.Errorf(domain.CodeNotFound, "none")
	b := &letterBox{answers: map[domain.LetterID]error{stored: gone, nothing: gone}, rows: map[domain.LetterID]bool{stored: true}}
	var outcomes []domain.LetterOutcome
	err := domain.NewLetters(b, b).Retry(t.Context(), []domain.LetterID{stored, nothing}, func(r domain.LetterResult) {
		outcomes = append(outcomes, r.Outcome)
	})
	require.NoError(t, err)
	require.Equal(t, []domain.LetterOutcome{domain.LetterToldAgain, domain.LetterUnknown}, outcomes)
	require.Equal(t, []string{"a has 0", "a repaired above 2"}, b.told)
}

func TestRetryThatEndsEarlyTellsWhatItHasStored(t *testing.T) {
	t.Parallel()
	b := &letterBox{
		letters: []domain.DeadLetter{letter("a", 3), letter("b", 2)}, forgets: true,
		answers: map[domain.LetterID]error{{Group: "b", Seq: 2}: errDown},
	}
	outcomes, err := retryAll(t, b, "")
	require.ErrorIs(t, err, errDown)
	require.Equal(t, []string{"a 3 storedtrue"}, outcomes, "stored, though repeats are not known")
	require.True(t, slices.Contains(b.told, "a repaired above 2"))
}

func TestAllLettersAreRetriedPageByPage(t *testing.T) {
	t.Parallel()
	b := &letterBox{}
	for seq := range int64(250) {
		b.letters = append(b.letters, letter("a", seq+1))
	}
	outcomes, err := retryAll(t, b, "a")
	require.NoError(t, err)
	require.Len(t, outcomes, 250)
}
