package domain_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"hearth/domain"
)

// mentionRow is a message that mentions users.
func mentionRow(group string, seq int64, users ...string) domain.Record {
	m := domain.Message{Group: group, Seq: seq, TimeMS: timeOf(seq), Header: domain.Header{From: "bob", Mentions: users}, Body: []byte(`[]`)}
	return m.Record()
}

func TestTheHighestUnreadMentionIsTold(t *testing.T) {
	t.Parallel()
	recalled := func(seqs ...int64) (list []domain.Recall) {
		for _, seq := range seqs {
			list = append(list, domain.Recall{Group: "g", Seq: seq, TimeMS: 1, By: "bob"})
		}
		return list
	}
	rows := []domain.Record{
		mentionRow("g", 1, "ann"), mentionRow("g", 2), mentionRow("g", 3, "*"), mentionRow("g", 4, "ann"), mentionRow("g", 5, "cy"),
	}
	recent := []domain.Record{
		mentionRow("g", 6, "ann"), mentionRow("g", 7, "*"), mentionRow("g", 8, "cy"), mentionRow("g", 9, "ann"),
	}
	for name, c := range map[string]struct {
		read    int64
		fresh   []int64
		cut     bool
		recalls []domain.Recall
		want    int64
		asked   int // how often MySQL was
	}{
		"in Redis":                               {fresh: []int64{9, 7, 6}, want: 9},
		"recalled in Redis":                      {fresh: []int64{9, 7, 6}, recalls: recalled(9, 7), want: 6},
		"in MySQL":                               {fresh: nil, want: 4, asked: 1},
		"all of Redis recalled":                  {fresh: []int64{9}, recalls: recalled(9), want: 4, asked: 1},
		"recalled, which MySQL does not know":    {recalls: recalled(4), want: 3, asked: 2},
		"all recalled":                           {fresh: []int64{9}, recalls: recalled(9, 4, 3, 1), want: 0, asked: 3},
		"read up to it":                          {read: 4, want: 0, asked: 1},
		"read beyond what MySQL has":             {read: 5, want: 0},
		"read beyond some of Redis":              {read: 7, fresh: []int64{7, 6}, want: 0},
		"none is unread":                         {read: 9, fresh: []int64{9}, want: 0},
		"more in Redis than it names":            {fresh: []int64{9}, cut: true, recalls: recalled(9), want: 7},
		"more in Redis, but recalled":            {fresh: []int64{9}, cut: true, recalls: recalled(9, 7), want: 6},
		"more in Redis, but all recalled":        {fresh: []int64{9}, cut: true, recalls: recalled(9, 7, 6), want: 4, asked: 1},
		"more in Redis, but read":                {read: 7, fresh: []int64{9}, cut: true, recalls: recalled(9), want: 0},
		"nothing in Redis that anybody has read": {read: 3, fresh: []int64{9, 7, 6}, want: 9},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			w.add(domain.Group{ID: "g", Type: domain.Private}, as(domain.Member, "ann"))
			w.mysql.rows["g"] = rows
			w.redis.recent["g"] = domain.Entombed(append([]domain.Record(nil), recent...), c.recalls)
			w.seed("g", 9, 5)
			w.redis.reads[domain.GroupUser{Group: "g", User: "ann"}] = c.read
			w.redis.recalls = map[string][]domain.Recall{"g": c.recalls}
			w.redis.mentions = map[string]domain.FreshMentions{"g": {Persisted: 5, Seqs: c.fresh, Cut: c.cut}}
			list, _, err := w.history.Conversations(t.Context(), user("ann"), "")
			require.NoError(t, err)
			require.Len(t, list, 1)
			require.Equal(t, c.want, list[0].MentionedSeq)
			require.Equal(t, c.asked, w.mysql.calls["Mentioned"])
		})
	}
}

// Conversations are listed while MySQL is away, with the mentions that are known.
func TestMentionsWhileMySQLIsAway(t *testing.T) {
	t.Parallel()
	w := newWorld()
	for _, id := range []string{"a", "b"} {
		w.add(domain.Group{ID: id, Type: domain.Private}, as(domain.Member, "ann"))
		w.mysql.rows[id] = []domain.Record{mentionRow(id, 1, "ann"), mentionRow(id, 2, "ann")}
		w.redis.recent[id] = w.mysql.rows[id]
		w.seed(id, 2, 1)
	}
	w.redis.mentions = map[string]domain.FreshMentions{"a": {Persisted: 1, Seqs: []int64{2}}, "b": {Persisted: 1}}
	w.redis.own = map[string][]string{"ann": {"a", "b"}}
	_, _, err := w.history.Conversations(t.Context(), user("ann"), "") // caches the groups
	require.NoError(t, err)
	w.mysql.down = errDown
	list, _, err := w.history.Conversations(t.Context(), user("ann"), "")
	require.NoError(t, err)
	require.Len(t, list, 2)
	got := map[string]int64{list[0].Group: list[0].MentionedSeq, list[1].Group: list[1].MentionedSeq}
	require.Equal(t, map[string]int64{"a": 2, "b": 0}, got)
}
