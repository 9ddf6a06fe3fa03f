package domain_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"hearth/domain"
)

var hi = []byte(`[{"type":"text","text":"hi"}]`)

// fakePeers are users of whom only bob is there.
type fakePeers struct{}

func (fakePeers) PeerOnline(_ context.Context, user string) bool { return user == "bob" }

func newSends() (*domain.Sends, *fakeAppender, *domain.Watermarks) {
	appender, watermarks := &fakeAppender{}, &domain.Watermarks{}
	return domain.NewSends(appender, watermarks, fakePeers{}), appender, watermarks
}

// answer is what Send told: at most one receipt or error, and perhaps a durable event.
type answer struct {
	receipts []domain.Receipt
	errs     []error
	durable  []domain.Accepted
}

func (a *answer) reply(r domain.Receipt, err error) {
	if err != nil {
		a.errs = append(a.errs, err)
	} else {
		a.receipts = append(a.receipts, r)
	}
}

func (a *answer) committed(m domain.Accepted) { a.durable = append(a.durable, m) }

func send(s *domain.Sends, d domain.Draft) *answer {
	a := &answer{}
	answered := make(chan struct{}, 1)
	s.Send(d, func(r domain.Receipt, err error) {
		a.reply(r, err)
		answered <- struct{}{}
	}, a.committed)
	if _, direct := domain.Peer(d.Group, d.From); direct { // whether he is there is asked beside
		<-answered
	}
	return a
}

func TestADirectSendTellsWhetherTheOtherSideIsThere(t *testing.T) {
	t.Parallel()
	for from, want := range map[string]bool{"ann": true, "bob": false} { // bob is there, ann is not
		s, _, _ := newSends()
		got := send(s, domain.Draft{Group: "dm:ann:bob", From: from, Body: hi})
		require.Len(t, got.receipts, 1)
		require.NotNil(t, got.receipts[0].PeerOnline)
		require.Equal(t, want, *got.receipts[0].PeerOnline)
	}
	for _, from := range []string{"ann", "system"} {
		s, _, _ := newSends()
		group := map[string]string{"ann": "g", "system": "dm:ann:bob"}[from]
		got := send(s, domain.Draft{Group: group, From: from, Body: hi})
		require.Nil(t, got.receipts[0].PeerOnline, "%s in %s has no other side", from, group)
	}
	s, appender, _ := newSends()
	appender.err = errDown
	got := send(s, domain.Draft{Group: "dm:ann:bob", From: "ann", Body: hi})
	require.Equal(t, []error{errDown}, got.errs)
}

func TestSendChecksInOrderAndNamesTheField(t *testing.T) {
	t.Parallel()
	many := slices.Repeat([]string{"bob"}, 51)
	// Each row breaks one thing more than the next: what a row breaks is found before what the next one does.
	rows := []struct {
		field string
		code  domain.Code
		spoil func(d *domain.Draft)
	}{
		{"group", domain.CodeBadRequest, func(d *domain.Draft) { d.Group = "a:b" }},
		{"client_id", domain.CodeBadRequest, func(d *domain.Draft) { d.ClientID = "a b" }},
		{"mentions", domain.CodeTooLarge, func(d *domain.Draft) { d.Mentions = many }},
		{"mentions[1]", domain.CodeBadRequest, func(d *domain.Draft) { d.Mentions = []string{"bob", "*"} }},
		{"reply_to", domain.CodeBadRequest, func(d *domain.Draft) { d.ReplyTo = -1 }},
		{"priority", domain.CodeBadRequest, func(d *domain.Draft) { d.Priority = "urgent" }},
		{"ack", domain.CodeBadRequest, func(d *domain.Draft) { d.Ack = "never"; d.Timeout = time.Hour }},
		{"timeout_ms", domain.CodeBadRequest, func(d *domain.Draft) { d.Ack, d.Timeout = domain.AckDurable, -1 }},
	}
	d := domain.Draft{Group: "g", From: "ann", Body: hi}
	for _, row := range slices.Backward(rows) {
		row.spoil(&d)
		s, appender, _ := newSends()
		got := send(s, d)
		require.Len(t, got.errs, 1, row.field)
		requireCode(t, got.errs[0], row.code, row.field)
		require.Empty(t, got.receipts)
		require.Empty(t, appender.appends, "what is refused goes no further")
	}
}

func TestSendToAUserNeedsADirectConversationsID(t *testing.T) {
	t.Parallel()
	for _, group := range []string{"", "g", "dm:ann:ann", "dm:bob:ann", "dm:ann:", domain.DirectID("ann", "b b")} {
		s, _, _ := newSends()
		got := send(s, domain.Draft{Group: group, From: "ann", Body: hi, Open: true})
		require.Len(t, got.errs, 1, group)
		requireCode(t, got.errs[0], domain.CodeBadRequest, "to")
	}
	s, appender, _ := newSends()
	got := send(s, domain.Draft{Group: domain.DirectID("bob", "ann"), From: "ann", Body: hi, Open: true})
	require.Len(t, got.receipts, 1)
	require.True(t, appender.appends[0].Open)
}

func TestSendRefusesAndTakes(t *testing.T) {
	t.Parallel()
	fifty := slices.Repeat([]string{"bob"}, 50)
	for name, c := range map[string]struct {
		change func(d *domain.Draft)
		field  string // "": taken
	}{
		"the least":                   {func(*domain.Draft) {}, ""},
		"to a direct":                 {func(d *domain.Draft) { d.Group = "dm:ann:bob" }, ""},
		"to nothing":                  {func(d *domain.Draft) { d.Group = "" }, "group"},
		"to hot":                      {func(d *domain.Draft) { d.Group = "hot" }, "group"},
		"client_id of 64":             {func(d *domain.Draft) { d.ClientID = strings.Repeat("x", 64) }, ""},
		"client_id of 65":             {func(d *domain.Draft) { d.ClientID = strings.Repeat("x", 65) }, "client_id"},
		"50 mentions":                 {func(d *domain.Draft) { d.Mentions = fifty }, ""},
		"everybody":                   {func(d *domain.Draft) { d.Mentions = []string{"*"} }, ""},
		"everybody twice":             {func(d *domain.Draft) { d.Mentions = []string{"*", "*"} }, "mentions[0]"},
		"nobody in mentions":          {func(d *domain.Draft) { d.Mentions = []string{"bob", ""} }, "mentions[1]"},
		"reply_to 2^53-1":             {func(d *domain.Draft) { d.ReplyTo = 1<<53 - 1 }, ""},
		"reply_to 2^53":               {func(d *domain.Draft) { d.ReplyTo = 1 << 53 }, "reply_to"},
		"high":                        {func(d *domain.Draft) { d.Priority = domain.PriorityHigh }, ""},
		"normal":                      {func(d *domain.Draft) { d.Priority = domain.PriorityNormal }, ""},
		"low":                         {func(d *domain.Draft) { d.Priority = domain.PriorityLow }, ""},
		"accepted":                    {func(d *domain.Draft) { d.Ack = domain.AckAccepted }, ""},
		"both":                        {func(d *domain.Draft) { d.Ack = domain.AckBoth }, ""},
		"a timeout without ack":       {func(d *domain.Draft) { d.Timeout = time.Second }, "timeout_ms"},
		"a timeout with both":         {func(d *domain.Draft) { d.Ack, d.Timeout = domain.AckBoth, time.Second }, "timeout_ms"},
		"a timeout of 1 ms":           {func(d *domain.Draft) { d.Ack, d.Timeout = domain.AckDurable, time.Millisecond }, ""},
		"a timeout of 10 s":           {func(d *domain.Draft) { d.Ack, d.Timeout = domain.AckDurable, 10*time.Second }, ""},
		"a timeout of more than 10 s": {func(d *domain.Draft) { d.Ack, d.Timeout = domain.AckDurable, 10*time.Second+1 }, "timeout_ms"},
		"a negative timeout":          {func(d *domain.Draft) { d.Ack, d.Timeout = domain.AckDurable, -time.Second }, "timeout_ms"},
	} {
		d := domain.Draft{Group: "g", From: "ann", Body: hi}
		c.change(&d)
		s, appender, _ := newSends()
		appender.persisted = func(seq int64) int64 { return seq } // nothing waits
		got := send(s, d)
		if c.field == "" {
			require.Empty(t, got.errs, name)
			require.Len(t, got.receipts, 1, name)
			continue
		}
		require.Len(t, got.errs, 1, name)
		requireCode(t, got.errs[0], domain.CodeBadRequest, c.field)
	}
}

func TestSendHandsTheScriptAllItNeeds(t *testing.T) {
	t.Parallel()
	s, appender, _ := newSends()
	d := domain.Draft{
		Group: "g", From: "ann", Operator: "key1", Body: hi, ClientID: "c1", Mentions: []string{"bob"}, ReplyTo: 3,
		Priority: domain.PriorityLow, Mute: "conn-7",
	}
	got := send(s, d)
	require.Equal(t, []domain.Receipt{{Accepted: domain.Accepted{Group: "g", Gen: 1, Seq: 1, TimeMS: timeOf(1)}}}, got.receipts)
	want := domain.Append{
		Draft:  d,
		Header: []byte(`"from":"ann","client_id":"c1","mentions":["bob"],"reply_to":3,"operator":"key1"`),
		Hash:   domain.ContentHash(hi, []string{"bob"}, 3),
		Dedupe: domain.DedupeID("g", "ann", "c1"),
	}
	if diff := cmp.Diff([]domain.Append{want}, appender.appends); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestRepeatedSendsGetTheFirstResult(t *testing.T) {
	t.Parallel()
	s, _, _ := newSends()
	d := domain.Draft{Group: "g", From: "ann", Body: hi, ClientID: "c1"}
	first, again := send(s, d).receipts[0], send(s, d).receipts[0]
	require.False(t, first.Duplicate)
	require.True(t, again.Duplicate)
	again.Duplicate = false
	require.Equal(t, first, again)

	other := d
	other.ReplyTo = 1
	requireCode(t, send(s, other).errs[0], domain.CodeConflict, "")
	for name, change := range map[string]func(d *domain.Draft){
		"another sender":   func(d *domain.Draft) { d.From = "bob" },
		"another group":    func(d *domain.Draft) { d.Group = "h" },
		"another id":       func(d *domain.Draft) { d.ClientID = "c2" },
		"no id":            func(d *domain.Draft) { d.ClientID = "" },
		"again without":    func(d *domain.Draft) { d.ClientID = "" },
		"an id in capital": func(d *domain.Draft) { d.ClientID = "C1" },
	} {
		d := d
		change(&d)
		require.False(t, send(s, d).receipts[0].Duplicate, name)
	}
}

func TestInternalIdempotencyKeysAreUniqueAcrossInstances(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for range 2 {
		s, appender, _ := newSends()
		for range 100 {
			send(s, domain.Draft{Group: "g", From: "ann", Body: hi})
		}
		for _, a := range appender.appends {
			require.True(t, domain.ValidID(a.Dedupe), "%q", a.Dedupe)
			require.False(t, seen[a.Dedupe], "%q came before", a.Dedupe)
			require.NotEqual(t, byte('c'), a.Dedupe[0], "apart from those of client_ids")
			seen[a.Dedupe] = true
		}
	}
}

func TestAcks(t *testing.T) {
	t.Parallel()
	const never = time.Duration(-1)
	for name, c := range map[string]struct {
		ack         domain.Ack
		timeout     time.Duration
		committedAt time.Duration // after the send; 0: the answer of the script knows it already; never
		repliedAt   time.Duration
		durable     bool // in the reply
		eventAt     time.Duration
	}{
		"accepted replies at once":                {domain.AckAccepted, 0, time.Second, 0, false, never},
		"the default is accepted":                 {"", 0, time.Second, 0, false, never},
		"accepted tells what it knows":            {domain.AckAccepted, 0, 0, 0, true, never},
		"durable waits for the row":               {domain.AckDurable, 0, time.Second, time.Second, true, never},
		"durable does not wait for what is known": {domain.AckDurable, 0, 0, 0, true, never},
		"durable waits 3 s at most":               {domain.AckDurable, 0, never, 3 * time.Second, false, never},
		"durable waits as long as asked":          {domain.AckDurable, 7 * time.Second, 6 * time.Second, 6 * time.Second, true, never},
		"durable waits no longer":                 {domain.AckDurable, 50 * time.Millisecond, time.Second, 50 * time.Millisecond, false, never},
		"both replies, then tells":                {domain.AckBoth, 0, time.Minute, 0, false, time.Minute},
		"both tells at once what is known":        {domain.AckBoth, 0, 0, 0, true, 0},
		"both never learns":                       {domain.AckBoth, 0, never, 0, false, never},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s, appender, watermarks := newSends()
				if c.committedAt == 0 {
					appender.persisted = func(seq int64) int64 { return seq }
				}
				start := time.Now()
				repliedAt, eventAt := never, never
				s.Send(domain.Draft{Group: "g", From: "ann", Body: hi, Ack: c.ack, Timeout: c.timeout},
					func(r domain.Receipt, err error) {
						require.NoError(t, err)
						require.Equal(t, never, repliedAt, "one reply")
						require.Equal(t, int64(1), r.Seq)
						require.Equal(t, c.durable, r.Durable, "durable")
						require.Equal(t, c.durable, r.PersistedSeq >= r.Seq, "persisted_seq %d says the same", r.PersistedSeq)
						repliedAt = time.Since(start)
					},
					func(a domain.Accepted) {
						require.Equal(t, never, eventAt, "one event")
						require.NotEqual(t, never, repliedAt, "the reply comes first")
						require.Equal(t, int64(1), a.Seq)
						eventAt = time.Since(start)
					})
				if c.committedAt > 0 {
					time.Sleep(c.committedAt)
					watermarks.Raise("g", 1, 1)
				}
				time.Sleep(time.Hour)
				synctest.Wait()
				require.Equal(t, c.repliedAt, repliedAt, "when it was replied")
				require.Equal(t, c.eventAt, eventAt, "when the event came")
			})
		})
	}
}

func TestARefusedMessageIsAnsweredWithInternal(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		group string
		ack   domain.Ack
		want  []string
	}{
		"who waits for the row":               {"g", domain.AckDurable, []string{"internal"}},
		"in a direct conversation":            {"dm:ann:bob", domain.AckDurable, []string{"internal"}},
		"who was answered gets no event":      {"g", domain.AckBoth, []string{"ok"}},
		"who did not ask is not told anymore": {"g", domain.AckAccepted, []string{"ok"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				watermarks := &domain.Watermarks{}
				s := domain.NewSends(&fakeAppender{}, watermarks, slowPeers(0))
				var told []string
				s.Send(domain.Draft{Group: c.group, From: "ann", Body: hi, Ack: c.ack},
					func(_ domain.Receipt, err error) {
						code := domain.CodeOf(err)
						if err == nil {
							code = "ok"
						}
						told = append(told, string(code))
					},
					func(domain.Accepted) { told = append(told, "durable") })
				watermarks.Fail(c.group, 1, 1)
				watermarks.Raise(c.group, 1, 1)
				time.Sleep(time.Hour)
				synctest.Wait()
				require.Equal(t, c.want, told)
			})
		})
	}
}

// slowPeers tell after a while that somebody is there, or when they are no longer asked that nobody is.
type slowPeers time.Duration

func (p slowPeers) PeerOnline(ctx context.Context, _ string) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(time.Duration(p)):
		return true
	}
}

func TestADirectSendsDurableEventComesBehindTheReply(t *testing.T) {
	t.Parallel()
	const atOnce = time.Duration(0)
	for name, c := range map[string]struct {
		presence  time.Duration // until it is known
		committed time.Duration // after the send
		replied   time.Duration
		event     time.Duration
	}{
		"known with the acceptance": {100 * time.Millisecond, atOnce, 100 * time.Millisecond, 100 * time.Millisecond},
		"committed meanwhile":       {100 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, 100 * time.Millisecond},
		"committed later":           {100 * time.Millisecond, time.Second, 100 * time.Millisecond, time.Second},
		"presence is not learned":   {time.Hour, 50 * time.Millisecond, 300 * time.Millisecond, 300 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				appender, watermarks := &fakeAppender{}, &domain.Watermarks{}
				if c.committed == atOnce {
					appender.persisted = func(seq int64) int64 { return seq }
				}
				s := domain.NewSends(appender, watermarks, slowPeers(c.presence))
				start := time.Now()
				var told []string
				s.Send(domain.Draft{Group: "dm:ann:bob", From: "ann", Body: hi, Ack: domain.AckBoth},
					func(r domain.Receipt, err error) {
						require.NoError(t, err)
						require.Equal(t, c.presence < time.Hour, *r.PeerOnline)
						told = append(told, fmt.Sprint("reply ", time.Since(start)))
					},
					func(domain.Accepted) { told = append(told, fmt.Sprint("durable ", time.Since(start))) })
				if c.committed > 0 {
					time.Sleep(c.committed)
					watermarks.Raise("dm:ann:bob", 1, 1)
				}
				time.Sleep(time.Minute)
				synctest.Wait()
				require.Equal(t, []string{fmt.Sprint("reply ", c.replied), fmt.Sprint("durable ", c.event)}, told)
			})
		})
	}
}

func TestARefusalDoesNotWaitForPresence(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		s := domain.NewSends(&fakeAppender{err: errDown}, &domain.Watermarks{}, slowPeers(time.Hour))
		got := send(s, domain.Draft{Group: "dm:ann:bob", From: "ann", Body: hi})
		require.Equal(t, []error{errDown}, got.errs)
		require.Zero(t, time.Since(start))
		time.Sleep(time.Second) // nobody waits for the answer any more
	})
}

func TestSendPassesTheAppendersRefusalOn(t *testing.T) {
	t.Parallel()
	for _, ack := range []domain.Ack{domain.AckAccepted, domain.AckDurable, domain.AckBoth} {
		s, appender, _ := newSends()
		appender.err = domain.Errorf(domain.CodeMuted, "you are muted")
		got := send(s, domain.Draft{Group: "g", From: "ann", Body: hi, Ack: ack})
		require.Equal(t, []error{appender.err}, got.errs)
		require.Empty(t, got.receipts)
		require.Empty(t, got.durable)
	}
}

type content struct {
	body     string
	mentions []string
	replyTo  int64
}

func TestContentHashTellsContentsApart(t *testing.T) {
	t.Parallel()
	// Few letters, so that contents that only look alike come up often.
	part := rapid.StringMatching(`[\[\]ab,0-2\x00-\x03]{0,3}`)
	anyContent := rapid.Custom(func(t *rapid.T) content {
		return content{
			part.Draw(t, "body"),
			rapid.SliceOfN(part, 0, 3).Draw(t, "mentions"),
			rapid.Int64Range(0, 3).Draw(t, "reply_to"),
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		a, b := anyContent.Draw(t, "a"), anyContent.Draw(t, "b")
		same := a.body == b.body && slices.Equal(a.mentions, b.mentions) && a.replyTo == b.replyTo
		hashA, hashB := domain.ContentHash([]byte(a.body), a.mentions, a.replyTo), domain.ContentHash([]byte(b.body), b.mentions, b.replyTo)
		require.Equal(t, same, hashA == hashB, "%+v has %s, %+v has %s", a, hashA, b, hashB)
		require.Regexp(t, `^[0-9a-f]{32}$`, hashA)
	})
	require.Equal(t, domain.ContentHash(hi, nil, 0), domain.ContentHash(hi, []string{}, 0), "no mentions are no mentions")
}

func TestDedupeIDTellsTriplesApart(t *testing.T) {
	t.Parallel()
	seen := map[string][3]string{}
	for _, triple := range [][3]string{
		{"ab", "c", "d"},
		{"a", "bc", "d"},
		{"a", "b", "cd"},
		{"abc", "d", ""},
		{"", "abc", "d"},
		{"a\x01b", "c", "d"},
		{"a", "\x01b\x01c", "d"},
		{"\x01a\x01", "b", "c"},
		{"1a", "1b", "1c"},
		{"1a1b", "1c", ""},
		{"g", "ann", "c"},
		{"ann", "g", "c"},
		{strings.Repeat("x", 127), "y", "z"},
		{strings.Repeat("x", 128), "y", "z"},
	} {
		id := domain.DedupeID(triple[0], triple[1], triple[2])
		require.NotContains(t, seen, id, "%q and %q", seen[id], triple)
		require.Regexp(t, `^c[0-9a-f]{32}$`, id)
		seen[id] = triple
	}
	part := rapid.StringMatching(`[ab\x00-\x03]{0,4}`)
	rapid.Check(t, func(t *rapid.T) {
		var a, b [3]string
		for i := range a {
			a[i], b[i] = part.Draw(t, fmt.Sprint("a", i)), part.Draw(t, fmt.Sprint("b", i))
		}
		require.Equal(t, a == b, domain.DedupeID(a[0], a[1], a[2]) == domain.DedupeID(b[0], b[1], b[2]), "%q and %q", a, b)
	})
}
