package domain

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// RecallWindow is how long senders may take back what they wrote.
const RecallWindow = 2 * time.Minute

// Recall is a message that was taken back: its content is served to nobody any more.
type Recall struct {
	Group  string
	Seq    int64
	Gen    int64 // in which it was recalled
	TimeMS int64
	By     string // user, or key of the app server
}

// RecallEvent is the event recall, as clients get it.
func RecallEvent(r Recall) []byte {
	return encodeEvent(struct {
		Event  string `json:"event"`
		Group  string `json:"group"`
		Seq    int64  `json:"seq"`
		By     string `json:"by"`
		TimeMS int64  `json:"time_ms"`
	}{"recall", r.Group, r.Seq, r.By, r.TimeMS})
}

// Entomb takes the content, which stands last, out of a message's JSON.
func (r Recall) Entomb(message []byte) []byte {
	header, _, ok := bytes.Cut(message, bodyField)
	if !ok { // it is a tombstone
		return message
	}
	dst := make([]byte, 0, len(header)+64)
	dst = append(dst, header...)
	dst = appendIntField(dst, `,"recalled_ms":`, r.TimeMS)
	dst = appendIDField(dst, `,"recalled_by":"`, r.By)
	return append(dst, '}')
}

// ApplyTo makes a tombstone of the message. Its hash stays: repeats of the send are known by it.
func (r Recall) ApplyTo(m *Message) {
	m.Body, m.RecalledMS, m.RecalledBy = nil, r.TimeMS, r.By
}

// ApplyRecalls makes tombstones of those messages that were recalled.
func ApplyRecalls(messages []Message, recalls []Recall) {
	if len(recalls) == 0 {
		return
	}
	type key struct {
		group string
		seq   int64
	}
	of := make(map[key]Recall, len(recalls))
	for _, r := range recalls {
		of[key{r.Group, r.Seq}] = r
	}
	for i := range messages {
		if r, ok := of[key{messages[i].Group, messages[i].Seq}]; ok {
			r.ApplyTo(&messages[i])
		}
	}
}

// Entombed makes tombstones of those of one group's records that were recalled.
func Entombed(records []Record, recalls []Recall) []Record {
	for _, recall := range recalls {
		for i := range records {
			if records[i].Seq == recall.Seq {
				records[i].Tail = recall.Entomb(records[i].Tail)
			}
		}
	}
	return records
}

// RecallOrder asks for one message to be recalled.
type RecallOrder struct {
	Group string
	Seq   int64
	Actor Actor
	// Stored is the message as MySQL has it, for when Redis does not have it any more; nil while that was not asked.
	Stored *Record
}

// RecallStore recalls in Redis; MySQL gets it behind.
type RecallStore interface {
	// Recall checks that the actor may, and recalls; what is recalled already stays so. Only the actor's place in the
	// group is looked at before MissingMessage. A refusal is an *Error; any other error leaves open whether the message
	// was recalled.
	Recall(ctx context.Context, o RecallOrder) (RecallOutcome, error)
}

// RecallOutcome tells that a message is recalled, or what has to be brought back into Redis, or learned, first.
type RecallOutcome struct {
	Missing   Missing
	Partition int   // where it is missing
	Gen       int64 // in which generation
}

// Recalls is the path of a recall.
type Recalls struct {
	store    RecallStore
	rows     MessageStore
	recovery *Recovery
}

// NewRecalls makes the use case.
func NewRecalls(store RecallStore, rows MessageStore, recovery *Recovery) *Recalls {
	return &Recalls{store: store, rows: rows, recovery: recovery}
}

// Recall takes a message back. It blocks while Redis has to be filled, 5 s at most. not_found where there is no such
// message, forbidden for who may not, or not any more. Doing it again changes nothing.
func (r *Recalls) Recall(ctx context.Context, actor Actor, group string, seq int64) error {
	if err := CheckGroup("group", group); err != nil {
		return err
	}
	if seq < 1 || seq >= 1<<53 {
		return BadField("seq", "must be from 1 to 2^53-1")
	}
	o := RecallOrder{Group: group, Seq: seq, Actor: actor}
	return untilNothingIsMissing(ctx, func(ctx context.Context) (lack, error) {
		outcome, err := r.store.Recall(ctx, o)
		return lack(outcome), asRefusal(err, "recall in "+group)
	}, func(ctx context.Context, what lack) error {
		if what.Missing == MissingMessage {
			return r.look(ctx, &o)
		}
		return r.recovery.fill(ctx, group, what)
	})
}

// look asks MySQL for the message.
func (r *Recalls) look(ctx context.Context, o *RecallOrder) error {
	if o.Stored != nil {
		return Unavailable(errors.New("asked again for what was told"), "Redis")
	}
	rows, err := r.rows.Messages(ctx, Range{Group: o.Group, From: o.Seq, To: o.Seq, Limit: 1})
	if err != nil {
		return Unavailable(fmt.Errorf("message %s/%d: %w", o.Group, o.Seq, err), "MySQL")
	}
	if len(rows) == 0 {
		return Errorf(CodeNotFound, "there is no message with this seq")
	}
	o.Stored = &rows[0]
	return nil
}

// MaxRecalled is how many recalls a reply tells; a client that asks for more shows little that is left, and had better
// pull it again.
const MaxRecalled = 10_000

// tooManyRecalls is the answer where a reply would be without some: clients would take it for complete.
func tooManyRecalls() error {
	return TooLarge("recalled_after_ms", "more than %d messages were recalled since: pull again what is shown, or ask for fewer groups", MaxRecalled)
}

// recalledSince are, for each group, the recalls after a time of messages up to the seq given, by seq. rest are groups for
// which there is no room in limit; 0: there is room for all.
func (h *History) recalledSince(ctx context.Context, afterMS int64, upTo map[string]int64, limit int) (found map[string][]Recall, rest []string, err error) {
	if len(upTo) == 0 {
		return nil, nil, nil
	}
	groups := slices.Sorted(maps.Keys(upTo))
	fresh, err := h.recent.Recalled(ctx, groups) // before MySQL: what gets there meanwhile is not missed
	if err != nil {
		return nil, nil, Unavailable(fmt.Errorf("recalls in %d groups: %w", len(groups), err), "Redis")
	}
	found, rest, err = h.store.RecalledSince(ctx, afterMS, upTo, limit)
	if err != nil {
		return nil, nil, Unavailable(fmt.Errorf("recalls in %d groups: %w", len(groups), err), "MySQL")
	}
	for i, group := range groups {
		if slices.Contains(rest, group) {
			continue
		}
		list := found[group]
		for _, r := range fresh[i] { // no more than Redis keeps messages, but for what MySQL has not got
			if r.TimeMS > afterMS && r.Seq <= upTo[group] {
				list = append(list, r)
			}
		}
		slices.SortFunc(list, func(a, b Recall) int { return cmp.Compare(a.Seq, b.Seq) })
		found[group] = slices.CompactFunc(list, func(a, b Recall) bool { return a.Seq == b.Seq })
	}
	return found, rest, nil
}

// RecallsSince are all recalls after a time of messages up to a seq, by seq.
func (h *History) RecallsSince(ctx context.Context, group string, afterMS, upTo int64) ([]Recall, error) {
	found, _, err := h.recalledSince(ctx, afterMS, map[string]int64{group: upTo}, 0)
	return found[group], err
}

// RecalledSeqs are the seqs of messages up to one that were recalled after a time, nil with an error only; too_large when
// they are more than a reply tells.
func (h *History) RecalledSeqs(ctx context.Context, group string, afterMS, upTo int64) ([]int64, error) {
	found, rest, err := h.recalledSince(ctx, afterMS, map[string]int64{group: upTo}, MaxRecalled)
	if err == nil && len(rest) > 0 {
		err = tooManyRecalls()
	}
	if err != nil {
		return nil, err
	}
	return seqsOfRecalls(found[group]), nil
}

func seqsOfRecalls(recalls []Recall) []int64 {
	seqs := make([]int64, len(recalls))
	for i, r := range recalls {
		seqs[i] = r.Seq
	}
	return seqs
}

// CheckRecalledAfter checks the optional recalled_after_ms, which goes with after_seq only.
func CheckRecalledAfter(ms *int64, withAfter bool) error {
	switch {
	case ms == nil:
		return nil
	case !withAfter:
		return BadField("recalled_after_ms", "goes with after_seq only")
	case *ms < 0 || *ms >= 1<<53:
		return BadField("recalled_after_ms", "must be from 0 to 2^53-1")
	}
	return nil
}

// rows reads messages from MySQL and makes tombstones of those whose rows do not know yet that they were recalled.
func (h *History) rows(ctx context.Context, r Range) ([]Record, error) {
	pages, err := h.rowsOfEach(ctx, []Range{r})
	if err != nil {
		return nil, err
	}
	return pages[0], nil
}

// rowsOfEach is rows for many groups, whose recalls are read at once.
func (h *History) rowsOfEach(ctx context.Context, ranges []Range) ([][]Record, error) {
	if len(ranges) == 0 {
		return nil, nil
	}
	groups := make([]string, len(ranges))
	for i, r := range ranges {
		groups[i] = r.Group
	}
	fresh, err := h.recent.Recalled(ctx, groups) // before MySQL, as with recalledSince
	if err != nil {
		return nil, Unavailable(fmt.Errorf("recalls in %d groups: %w", len(groups), err), "Redis")
	}
	pages := make([][]Record, len(ranges))
	for i, r := range ranges {
		rows, err := h.store.Messages(ctx, r)
		if err != nil {
			return nil, Unavailable(fmt.Errorf("messages of %s: %w", r.Group, err), "MySQL")
		}
		pages[i] = Entombed(rows, fresh[i])
	}
	return pages, nil
}
