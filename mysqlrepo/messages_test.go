package mysqlrepo

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hearth/domain"
)

func TestMessagesComeBackAsTheyWereSent(t *testing.T) {
	onEach(t, func(t *testing.T, db *DB) {
		body := []byte(`[{"type":"text","text":"grüße 👩‍👩‍👧 \"'\\ \u0000 %s ?"}]`)
		full := domain.Message{
			Group: "dm:a:b", Seq: 7, TimeMS: 1_700_000_000_123, Gen: 3, GroupType: domain.Direct,
			Header: domain.Header{
				From: "a", ClientID: "c-1", Mentions: []string{"b", "x.y@z#1"}, ReplyTo: 5, Operator: "key-1",
			},
			Body: body, Hash: domain.ContentHash(body, []string{"b", "x.y@z#1"}, 5),
		}
		recalled := full
		recalled.Seq, recalled.RecalledMS, recalled.RecalledBy, recalled.Body = 8, 1_700_000_009_000, "b", nil
		plain := message("dm:a:b", 9, 3)
		insert(t, db, full, recalled, plain)
		got, err := db.Messages(t.Context(), domain.Range{Group: "dm:a:b", From: 1, To: 100, Limit: 10})
		if err != nil {
			t.Fatal(err)
		}
		want := []domain.Record{full.Record(), recalled.Record(), plain.Record()}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("messages (-want +got):\n%s", diff)
		}
	})
}

func TestRepeatedBatchChangesNothing(t *testing.T) {
	for _, n := range []int64{1, 19, 20, 137, 1203} {
		t.Run(fmt.Sprint(n, " rows"), func(t *testing.T) {
			onEach(t, func(t *testing.T, db *DB) {
				insert(t, db, messages("room", 1, n, 1)...)
				first := stored(t, db, "room")
				if int64(len(first)) != n {
					t.Fatalf("got %d rows, want %d", len(first), n)
				}
				insert(t, db, messages("room", 1, n, 1)...)
				insert(t, db, messages("room", 1, n+3, 1)...)
				if diff := cmp.Diff(first, stored(t, db, "room")[:n]); diff != "" {
					t.Errorf("rows after repeating (-before +after):\n%s", diff)
				}
				if got := len(stored(t, db, "room")); int64(got) != n+3 {
					t.Errorf("got %d rows, want %d", got, n+3)
				}
			})
		})
	}
}

func TestIdsThatDifferInCaseAreDifferent(t *testing.T) {
	onEach(t, func(t *testing.T, db *DB) {
		insert(t, db, message("room", 1, 1), message("Room", 1, 1), message("ROOM", 2, 1))
		for _, group := range []string{"room", "Room"} {
			if got := seqs(stored(t, db, group)); got != "1" {
				t.Errorf("seqs of %s: got %q, want 1", group, got)
			}
		}
		m := message("room", 2, 1)
		m.From = "U2"
		other := message("room", 3, 1)
		other.From = "u2"
		insert(t, db, m, other)
		marks, err := db.ReadMarks(t.Context(), []domain.GroupUser{{Group: "room", User: "U2"}, {Group: "room", User: "u2"}})
		if err != nil {
			t.Fatal(err)
		}
		want := map[domain.GroupUser]int64{{Group: "room", User: "U2"}: 2, {Group: "room", User: "u2"}: 3}
		if diff := cmp.Diff(want, marks); diff != "" {
			t.Errorf("marks (-want +got):\n%s", diff)
		}
	})
}

func TestOlderGenerationIsFencedOffOnceANewerIsSettled(t *testing.T) {
	onEach(t, func(t *testing.T, db *DB) {
		partition := db.partitions.Of("room")
		old := raise(t, db, partition)
		insert(t, db, message("room", 1, old))
		raised, err := db.Renew(t.Context(), partition, observed("another server"))
		if err != nil {
			t.Fatal(err)
		}
		insert(t, db, message("room", 2, old)) // raised, but not settled: journals are being written
		if err := db.Settle(t.Context(), partition, raised.Gen); err != nil {
			t.Fatal(err)
		}
		err = tryInsert(db, message("room", 3, old), message("room", 1, old))
		var fenced *FencedError
		if !errors.Is(err, ErrFenced) || !errors.As(err, &fenced) {
			t.Fatalf("got %v, want ErrFenced", err)
		}
		if want := (FencedError{partition, old, raised.Gen}); *fenced != want {
			t.Errorf("got %+v, want %+v", *fenced, want)
		}
		insert(t, db, message("room", 4, raised.Gen))
		if got := seqs(stored(t, db, "room")); got != "1 2 4" {
			t.Errorf("seqs: got %q, want %q", got, "1 2 4")
		}
	})
}

func TestMessagesOfAGenerationTheCallerDidNotNameAreRefused(t *testing.T) {
	onEach(t, func(t *testing.T, db *DB) {
		p := db.partitions.Of("room")
		for name, gens := range map[string]map[int]int64{"newer": {p: 2}, "none": {}, "of another partition": {(p + 1) % 4: 1}} {
			if err := db.InsertMessages(t.Context(), gens, messages("room", 1, 1, 1)); err == nil {
				t.Errorf("%s: got nil, want an error", name)
			}
		}
	})
}

func TestSecondMessageForASeqIsAnError(t *testing.T) {
	onEach(t, func(t *testing.T, db *DB) {
		insert(t, db, messages("room", 1, 30, 1)...)
		otherHash, otherGen := message("room", 17, 1), message("room", 17, 2)
		otherHash.Hash = domain.ContentHash([]byte(`[]`), nil, 0)
		for name, m := range map[string]domain.Message{"other content": otherHash, "other generation": otherGen} {
			batch := append(messages("room", 31, 40, m.Gen), m)
			err := tryInsert(db, batch...)
			var taken *SeqTakenError
			if !errors.Is(err, ErrSeqTaken) || !errors.As(err, &taken) || taken.Group != "room" || taken.Seq != 17 {
				t.Errorf("%s: got %v, want ErrSeqTaken for room/17", name, err)
			}
			if !isRefused(err) {
				t.Errorf("%s: Refused: got false, want true", name)
			}
		}
		if got := len(stored(t, db, "room")); got != 30 {
			t.Errorf("got %d rows, want the 30 from before", got)
		}
		twice := message("other", 1, 1)
		twice.Hash = otherHash.Hash
		if err := tryInsert(db, message("other", 1, 1), twice); !errors.Is(err, ErrSeqTaken) {
			t.Errorf("two contents in one batch: got %v, want ErrSeqTaken", err)
		}
	})
}

func TestSendingMovesTheSendersReadMark(t *testing.T) {
	onEach(t, func(t *testing.T, db *DB) {
		fromServer, system := message("room", 9, 1), message("room", 10, 1)
		fromServer.Operator, system.From = "key", domain.SystemUser
		insert(t, db, append(messages("room", 1, 8, 1), fromServer, system)...)
		insert(t, db, messages("room", 1, 3, 1)...) // a repeat does not pull marks back
		who := []domain.GroupUser{
			{Group: "room", User: "u0"},
			{Group: "room", User: "u1"},
			{Group: "room", User: "u2"},
			{Group: "room", User: domain.SystemUser},
			{Group: "room", User: "nobody"},
		}
		got, err := db.ReadMarks(t.Context(), who)
		if err != nil {
			t.Fatal(err)
		}
		want := map[domain.GroupUser]int64{who[0]: 6, who[1]: 7, who[2]: 8, who[3]: 0, who[4]: 0}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("marks (-want +got):\n%s", diff)
		}
	})
}

func TestSavedReadMarksNeverFall(t *testing.T) {
	onEach(t, func(t *testing.T, db *DB) {
		marks := make(map[domain.GroupUser]int64)
		for i := range int64(733) {
			marks[domain.GroupUser{Group: fmt.Sprint("g", i%7), User: fmt.Sprint("u", i)}] = i + 1
		}
		lower := make(map[domain.GroupUser]int64)
		var who []domain.GroupUser
		for m, seq := range marks {
			lower[m] = seq - 1
			who = append(who, m)
		}
		for _, m := range []map[domain.GroupUser]int64{marks, lower, nil} {
			if err := db.SaveReadMarks(t.Context(), m); err != nil {
				t.Fatal(err)
			}
		}
		got, err := db.ReadMarks(t.Context(), who)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(marks, got); diff != "" {
			t.Errorf("marks (-want +got):\n%s", diff)
		}
	})
}

func TestConcurrentUnsortedOverlappingBatchesAllSucceed(t *testing.T) {
	onEach(t, func(t *testing.T, db *DB) {
		var all []domain.Message
		for g := range 5 {
			all = append(all, messages(fmt.Sprint("room", g), 1, 60, 1)...)
		}
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range 5 {
					batch := make([]domain.Message, 0, len(all))
					for _, i := range rand.Perm(len(all))[:200] {
						batch = append(batch, all[i])
					}
					if err := tryInsert(db, batch...); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		insert(t, db, all...)
		for g := range 5 {
			if got := len(stored(t, db, fmt.Sprint("room", g))); got != 60 {
				t.Errorf("room%d: got %d rows, want 60", g, got)
			}
		}
	})
}

func TestRowThatCannotBeStoredIsRefusedWithoutItsBody(t *testing.T) {
	t.Parallel()
	db := openEmpty(t, "mysql")
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	const secret = "secret"
	broken, long := message("room", 1, 1), message("room", 2, 1)
	broken.Body = []byte(`[{"type":"text","text":"` + secret + "\xff" + secret + `"}]`)
	long.From = strings.Repeat("x", 65)
	for name, m := range map[string]domain.Message{"broken UTF-8": broken, "long id": long} {
		err := tryInsert(db, append(messages("room", 10, 40, 1), m)...)
		if err == nil || !isRefused(err) {
			t.Errorf("%s: got %v, Refused %v, want an error about the values", name, err, isRefused(err))
		}
		if err != nil && strings.Contains(err.Error(), secret) {
			t.Errorf("%s: the error shows the body: %v", name, err)
		}
	}
	if got := stored(t, db, "room"); len(got) != 0 {
		t.Errorf("got %d rows of refused batches, want none", len(got))
	}
	if isRefused(context.DeadlineExceeded) {
		t.Error("Refused(deadline): got true, want false")
	}
}

func TestPlanCutsByRowsAndBytes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		n, rowBytes int
		want        []int
	}{
		{0, 1, nil},
		{3, 1, []int{3}},
		{1000, 1, []int{500, 500}},
		{745, 1, []int{500, 100, 100, 20, 20, 5}},
		{50, 100, []int{10, 10, 10, 10, 10}},
		{2, 5000, []int{1, 1}},
		{60, 40, []int{20, 20, 20}},
	} {
		got := plan(c.n, 1000, func(int) int { return c.rowBytes })
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("plan of %d rows of %d bytes (-want +got):\n%s", c.n, c.rowBytes, diff)
		}
	}
}
