package mysqlrepo

import (
	"strconv"
	"strings"
	"testing"

	"hearth/domain"
)

func TestRangesOfMessages(t *testing.T) {
	onEach(t, func(t *testing.T, db *DB) {
		insert(t, db, append(messages("room", 1, 4, 1), messages("room", 8, 12, 1)...)...)
		insert(t, db, messages("room2", 1, 3, 1)...)
		for _, c := range []struct {
			r    domain.Range
			want string
		}{
			{domain.Range{From: 1, To: 100, Limit: 100}, "1 2 3 4 8 9 10 11 12"},
			{domain.Range{From: 3, To: 9, Limit: 100}, "3 4 8 9"},
			{domain.Range{From: 3, To: 100, Limit: 3}, "3 4 8"},
			{domain.Range{From: 1, To: 100, Limit: 3, Last: true}, "10 11 12"},
			{domain.Range{From: 1, To: 9, Limit: 3, Last: true}, "4 8 9"},
			{domain.Range{From: 5, To: 7, Limit: 3}, ""},
			{domain.Range{From: 9, To: 3, Limit: 3}, ""},
			{domain.Range{From: 1, To: 9}, ""},
		} {
			c.r.Group = "room"
			records, err := db.Messages(t.Context(), c.r)
			if err != nil {
				t.Fatal(err)
			}
			var lines []string
			for _, m := range records {
				lines = append(lines, strconv.FormatInt(m.Seq, 10))
			}
			got := strings.Join(lines, " ")
			if got != c.want {
				t.Errorf("%+v: got %q, want %q", c.r, got, c.want)
			}
		}
	})
}

func TestLastSeqBeforeATime(t *testing.T) {
	onEach(t, func(t *testing.T, db *DB) {
		msgs := messages("room", 1, 10, 1)
		msgs[4].TimeMS = msgs[3].TimeMS // two in one millisecond
		insert(t, db, msgs...)
		for time, want := range map[int64]int64{
			0: 0, msgs[0].TimeMS: 0, msgs[0].TimeMS + 1: 1,
			msgs[3].TimeMS: 3, msgs[3].TimeMS + 1: 5, msgs[9].TimeMS + 1: 10,
		} {
			got, err := db.LastSeqBefore(t.Context(), "room", time)
			if err != nil || got != want {
				t.Errorf("before %d: got %d, %v, want %d", time, got, err, want)
			}
		}
	})
}
