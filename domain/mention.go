package domain

import (
	"context"
	"slices"
	"time"
)

// FreshMentions is what Redis knows of who is mentioned in a group, beside what MySQL has.
type FreshMentions struct {
	Persisted int64 // MySQL has what is not above
	// Seqs are messages above Persisted that mention the user or everybody, latest first.
	Seqs []int64
	// Cut is set when there are more: they are lower than the last of Seqs.
	Cut      bool
	Recalled []Recall // nobody is mentioned any more in what was recalled
}

// mentionPatience is how long MySQL is waited for: while it is away, conversations are listed all the same.
const mentionPatience = 500 * time.Millisecond

// addMentions finds the highest unread message of each conversation that mentions the user. Where MySQL would have to be
// asked and does not answer, there is none.
func (h *History) addMentions(ctx context.Context, user string, list []Conversation) error {
	var unread []*Conversation
	var groups []string
	for i := range list {
		if list[i].Unread() > 0 {
			unread, groups = append(unread, &list[i]), append(groups, list[i].Group)
		}
	}
	if len(groups) == 0 {
		return nil
	}
	fresh, err := h.recent.Mentions(ctx, user, groups)
	if err != nil {
		return Failed(err, "Redis")
	}
	recalled := make(map[string]map[int64]bool, len(groups))
	var stored []Range
	for i, c := range unread {
		recalled[c.Group] = seqSet(fresh[i].Recalled)
		c.MentionedSeq, err = h.freshMention(ctx, user, c.Head, fresh[i], recalled[c.Group])
		if err != nil {
			return err
		}
		if c.MentionedSeq == 0 && c.ReadSeq < fresh[i].Persisted {
			stored = append(stored, Range{Group: c.Group, From: c.ReadSeq + 1, To: fresh[i].Persisted})
		}
	}
	ctx, cancel := context.WithTimeout(ctx, mentionPatience)
	defer cancel()
	if found, err := h.storedMentions(ctx, user, stored, recalled); err == nil {
		for _, c := range unread {
			c.MentionedSeq = max(c.MentionedSeq, found[c.Group])
		}
	}
	return nil
}

func seqSet(recalls []Recall) map[int64]bool {
	set := make(map[int64]bool, len(recalls))
	for _, r := range recalls {
		set[r.Seq] = true
	}
	return set
}

// freshMention looks among what MySQL may not have; 0 for none. Redis names the last ones: further back it is looked for in
// the messages themselves, which takes many mentions that were recalled while MySQL was away.
func (h *History) freshMention(ctx context.Context, user string, head Head, m FreshMentions, recalled map[int64]bool) (int64, error) {
	low := max(head.ReadSeq, m.Persisted)
	for _, seq := range m.Seqs {
		if seq > low && !recalled[seq] {
			return seq, nil
		}
	}
	if !m.Cut || len(m.Seqs) == 0 {
		return 0, nil
	}
	for to := m.Seqs[len(m.Seqs)-1] - 1; to > low; {
		r := Range{Group: head.Group, From: low + 1, To: to, Limit: MaxPage, Last: true, Committed: head.PersistedSeq}
		pages, err := h.recent.Recent(ctx, []Range{r})
		if err != nil {
			return 0, Failed(err, "Redis")
		}
		for _, record := range slices.Backward(pages[0]) {
			message, err := MessageOf(record)
			if err == nil && message.RecalledMS == 0 && message.mentions(user) {
				return record.Seq, nil
			}
		}
		if len(pages[0]) == 0 {
			break
		}
		to = pages[0][0].Seq - 1
	}
	return 0, nil
}

func (m *Message) mentions(user string) bool {
	return slices.Contains(m.Mentions, user) || slices.Contains(m.Mentions, MentionAll)
}

// storedMentions asks MySQL, and again below what is recalled without its knowing.
func (h *History) storedMentions(ctx context.Context, user string, ranges []Range, recalled map[string]map[int64]bool) (map[string]int64, error) {
	mentioned := make(map[string]int64)
	for len(ranges) > 0 {
		found, err := h.store.Mentioned(ctx, user, ranges)
		if err != nil {
			return nil, err
		}
		var again []Range
		for _, r := range ranges {
			seq := found[r.Group]
			if !recalled[r.Group][seq] {
				mentioned[r.Group] = seq
			} else if r.To = seq - 1; r.To >= r.From {
				again = append(again, r)
			}
		}
		ranges = again
	}
	return mentioned, nil
}
