package e2e

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"testing"
)

// explained checks that a page accounts for every seq behind after, up to where it answers for, and returns that
// point: its last message, or max_seq when there is no more.
func (p page) explained(after int64) (upTo int64, err error) {
	upTo = p.MaxSeq
	if p.More {
		if len(p.Messages) == 0 {
			return after, fmt.Errorf("%s: more, but no message behind %d", p.Group, after)
		}
		upTo = p.Messages[len(p.Messages)-1].Seq
	}
	upTo = max(upTo, after)
	return upTo, covered(p.Messages, p.Holes, after+1, upTo)
}

// covered checks that messages and holes, both ascending, account for each seq from first to last exactly once.
func covered(messages []message, holes []hole, first, last int64) error {
	next := first
	for next <= last {
		switch {
		case len(messages) > 0 && messages[0].Seq == next:
			messages, next = messages[1:], next+1
		case len(holes) > 0 && holes[0].From == next && holes[0].To >= next:
			if holes[0].Reason != "lost" && holes[0].Reason != "expired" {
				return fmt.Errorf("hole %+v: reason is neither lost nor expired", holes[0])
			}
			holes, next = holes[1:], holes[0].To+1
		default:
			return fmt.Errorf("seq %d of %d…%d is neither the next message (%s) nor in the next hole %v",
				next, first, last, seqsOf(messages), holes)
		}
	}
	if next != last+1 || len(messages) > 0 || len(holes) > 0 {
		return fmt.Errorf("beyond %d…%d: messages %s, holes %v, at %d", first, last, seqsOf(messages), holes, next)
	}
	return nil
}

func seqsOf(messages []message) string {
	seqs := make([]int64, 0, 5)
	for _, m := range messages[:min(5, len(messages))] {
		seqs = append(seqs, m.Seq)
	}
	return fmt.Sprintf("%d: %v…", len(messages), seqs)
}

// puller pulls one page; query is after_seq or before_seq.
type puller func(t testing.TB, query string, seq int64, limit int) page

func overHTTP(c *caller, group string) puller {
	return func(t testing.TB, query string, seq int64, limit int) (p page) {
		t.Helper()
		c.get("/v1/groups/"+group+"/messages?"+query+"="+strconv.FormatInt(seq, 10)+"&limit="+strconv.Itoa(limit)).ok(200, &p)
		return p
	}
}

func overWebSocket(c *client, group string) puller {
	return func(t testing.TB, query string, seq int64, limit int) page {
		t.Helper()
		return c.pull(group, fields{query: seq, "limit": limit})
	}
}

// forwards reads the whole of a group by after_seq.
func forwards(t testing.TB, pull puller, limit int) (messages []message, holes []hole) {
	t.Helper()
	for after := int64(0); ; {
		p := pull(t, "after_seq", after, limit)
		upTo, err := p.explained(after)
		if err != nil {
			t.Fatalf("page after %d, limit %d: %v", after, limit, err)
		}
		if n := len(p.Messages); n > min(limit, 200) || p.More && n < min(limit, 200) {
			t.Fatalf("page after %d, limit %d: got %d messages, more %v", after, limit, n, p.More)
		}
		messages, holes = append(messages, p.Messages...), append(holes, p.Holes...)
		if !p.More {
			return messages, holes
		}
		after = upTo
	}
}

// backwards reads the whole of a group by before_seq.
func backwards(t testing.TB, pull puller, top int64, limit int) (messages []message) {
	t.Helper()
	for before := top + 1; ; {
		p := pull(t, "before_seq", before, limit)
		if n := len(p.Messages); n > min(limit, 200) || p.More && n < min(limit, 200) {
			t.Fatalf("page before %d, limit %d: got %d messages, more %v", before, limit, n, p.More)
		}
		if n := len(p.Messages); n > 0 && p.Messages[n-1].Seq >= before {
			t.Fatalf("page before %d, limit %d: goes up to %d", before, limit, p.Messages[n-1].Seq)
		}
		messages = slices.Concat(p.Messages, messages)
		if !p.More {
			return messages
		}
		before = p.Messages[0].Seq
	}
}

func parsePage(raw []byte) (p page, err error) {
	err = json.Unmarshal(raw, &p)
	return p, err
}
