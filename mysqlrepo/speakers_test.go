package mysqlrepo

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"hearth/domain"
)

func said(group string, typ domain.GroupType, seq int64, from string, ms int64) domain.Message {
	m := message(group, seq, 1)
	m.GroupType, m.From, m.TimeMS = typ, from, ms
	return m
}

func speakersAfter(t testing.TB, db *DB, ms int64) []domain.Speaker {
	t.Helper()
	got, err := db.Speakers(t.Context(), ms)
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(got, func(a, b domain.Speaker) int {
		return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.User, b.User))
	})
	return got
}

func messagesAfter(t testing.TB, db *DB, ms int64) (got []domain.MessageTime) {
	t.Helper()
	err := db.MessageTimes(t.Context(), ms, func(m domain.MessageTime) error { got = append(got, m); return nil })
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(got, func(a, b domain.MessageTime) int {
		return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.Seq, b.Seq))
	})
	return got
}

func TestSpeakersAreWhoCountsAsHeat(t *testing.T) {
	onEach(t, func(t *testing.T, db *DB) {
		byServer := said("room", domain.Room, 6, "eve", 1006)
		byServer.Operator = "key"
		recalled := said("room", domain.Room, 7, "fay", 1007)
		recalled.RecalledMS, recalled.RecalledBy = 1008, "fay"
		insert(t, db,
			said("Room", domain.Room, 1, "ann", 1001),
			said("dm:ann:bob", domain.Direct, 1, "ann", 1001),
			said("private", domain.Private, 1, "ann", 1001),
			said("private", domain.Private, 2, "Ann", 1002),
			said("room", domain.Room, 1, "old", 999),
			said("room", domain.Room, 2, "edge", 1000),
			said("room", domain.Room, 3, "ann", 1001),
			said("room", domain.Room, 4, "ann", 1004),
			said("room", domain.Room, 5, domain.SystemUser, 1005),
			byServer, recalled,
		)
		want := []domain.Speaker{
			{Group: "Room", User: "ann", TimeMS: 1001},
			{Group: "private", User: "Ann", TimeMS: 1002},
			{Group: "private", User: "ann", TimeMS: 1001},
			{Group: "room", User: "ann", TimeMS: 1004},
			{Group: "room", User: "eve", TimeMS: 1006},
			{Group: "room", User: "fay", TimeMS: 1007},
		}
		if diff := gocmp.Diff(want, speakersAfter(t, db, 1000)); diff != "" {
			t.Errorf("speakers (-want +got):\n%s", diff)
		}
		create(t, db, "Room")
		if _, err := db.Dismiss(t.Context(), "Room", nil); err != nil {
			t.Fatal(err)
		}
		if diff := gocmp.Diff(want[1:], speakersAfter(t, db, 1000)); diff != "" {
			t.Errorf("speakers without those of a dismissed room (-want +got):\n%s", diff)
		}
		messages := []domain.MessageTime{
			{Group: "private", Seq: 1, TimeMS: 1001},
			{Group: "private", Seq: 2, TimeMS: 1002},
			{Group: "room", Seq: 3, TimeMS: 1001},
			{Group: "room", Seq: 4, TimeMS: 1004},
			{Group: "room", Seq: 6, TimeMS: 1006},
			{Group: "room", Seq: 7, TimeMS: 1007},
		}
		if diff := gocmp.Diff(messages, messagesAfter(t, db, 1000)); diff != "" {
			t.Errorf("messages, each by itself, recalled or not (-want +got):\n%s", diff)
		}
		enough := errors.New("enough")
		if err := db.MessageTimes(t.Context(), 1000, func(domain.MessageTime) error { return enough }); !errors.Is(err, enough) {
			t.Errorf("messages that nobody takes: got %v, want %v", err, enough)
		}
		if got := speakersAfter(t, db, 2000); len(got) > 0 {
			t.Errorf("speakers after everything: got %v, want none", got)
		}
	})
}

func BenchmarkSpeakers(b *testing.B) {
	db := openEmpty(b, "mysql")
	if err := db.Migrate(b.Context()); err != nil {
		b.Fatal(err)
	}
	const rows, recent = 200_000, 20_000
	var msgs []domain.Message
	for i := range int64(rows) {
		msgs = append(msgs, said(fmt.Sprint("g", i%500), domain.Room, 1+i/500, fmt.Sprint("u", i*i%1000), i))
		if len(msgs) == 2000 {
			insert(b, db, msgs...)
			msgs = msgs[:0]
		}
	}
	for b.Loop() {
		if got := speakersAfter(b, db, rows-recent); len(got) == 0 {
			b.Fatal("nobody spoke")
		}
	}
}
