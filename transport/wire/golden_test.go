package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"hearth/domain"
)

var update = flag.Bool("update", false, "write testdata/golden anew")

var (
	lost    = domain.Hole{From: 3, To: 5, Reason: domain.HoleLost}
	expired = domain.Hole{From: 1, To: 1, Reason: domain.HoleExpired}

	head = &domain.Head{
		Group: "team", Type: domain.Private, Name: "Team", Role: domain.Admin,
		MaxSeq: 8, PersistedSeq: 7, ReadSeq: 2, LastMS: timeOf(8), Holes: domain.Holes{expired, lost},
	}
	room = &domain.Head{Group: "lobby", Type: domain.Room, Name: "Lobby", MaxSeq: 0}

	full = message(6, func(m *domain.Message) {
		m.ClientID, m.Mentions, m.ReplyTo, m.Operator = "c-6", []string{"bob", "cy"}, 2, "shop"
		m.Body = []byte(`[{"type":"text","text":"a \"quoted\" line\nand <b>"},{"type":"image","url":"/v1/uploads/k/i.png"}]`)
	})
	tombstone = message(7, func(m *domain.Message) { m.RecalledMS, m.RecalledBy = timeOf(9), "ann" })
	page      = domain.Page{Messages: []domain.Record{message(2, nil), full, tombstone}, Holes: domain.Holes{lost}, More: true}

	accepted = domain.Accepted{Group: "team", Gen: 1, Seq: 8, TimeMS: timeOf(8), PersistedSeq: 7}
	direct   = domain.Accepted{Group: "dm:ann:bob", Gen: 1, Seq: 2, TimeMS: timeOf(2), PersistedSeq: 1}
	limited  = &domain.Error{Code: domain.CodeRateLimited, Message: "too many messages", RetryAfter: 250 * time.Millisecond}
)

// frames are every kind of object this server writes. A new Append function needs a row here; the SDKs replay
// the files.
var frames = map[string]func(dst []byte) []byte{
	"welcome": (&Welcome{
		Conn: "0123456789abcdef", User: "ann", Instance: `node "1"`, NowMS: timeOf(0), PingInterval: 25 * time.Second,
		Subscribed: 3, SubscribedAll: true, MessageBytes: 12288,
	}).Append,
	"message":          func(dst []byte) []byte { return AppendMessage(dst, message(8, nil)) },
	"message_full":     func(dst []byte) []byte { return AppendMessage(dst, full) },
	"message_recalled": func(dst []byte) []byte { return AppendMessage(dst, tombstone) },
	"message_prev_seq": func(dst []byte) []byte {
		return append(dst, WithPrevSeq(AppendMessage(nil, message(6, nil)), 2)...)
	},
	"message_behind":        func(dst []byte) []byte { return append(dst, MessageBehind(full, 5)...) },
	"message_behind_a_hole": func(dst []byte) []byte { return append(dst, MessageBehind(full, 2)...) },
	"recall": func(dst []byte) []byte {
		return append(dst, domain.RecallEvent(domain.Recall{Group: "team", Seq: 7, TimeMS: timeOf(9), By: "ann"})...)
	},
	"durable": func(dst []byte) []byte { return AppendDurable(dst, "team", 8) },
	"goodbye": func(dst []byte) []byte {
		return AppendGoodbye(dst, domain.CloseShuttingDown, "shutting down", 1500*time.Millisecond)
	},
	"goodbye_for_good": func(dst []byte) []byte { return AppendGoodbye(dst, domain.CloseAbuse, "too many bad frames", 0) },
	"token_expiring":   func(dst []byte) []byte { return AppendTokenExpiring(dst, timeOf(60)) },
	"resync": func(dst []byte) []byte {
		return AppendResync(dst, []Resync{{Group: "team", AfterSeq: 8}, {Group: "dm:ann:bob"}})
	},
	"resync_from_start": func(dst []byte) []byte {
		return AppendResync(dst, []Resync{{Group: "team", FromStart: true}})
	},
	"hot": func(dst []byte) []byte {
		return AppendHot(dst, &domain.HotPage{
			HotSnapshot: domain.HotSnapshot{ID: "loyw3v28-3", TimeMS: timeOf(9), Entries: []domain.HotEntry{
				{Rank: 1, Group: "lobby", Name: `The "Lobby" <é>`, Type: domain.Room, Heat: 12, Online: 40, LastMS: timeOf(8)},
				{Rank: 3, Group: "kitchen", Type: domain.Room, Heat: 1, LastMS: timeOf(2)},
			}},
			Cursor: "loyw3v28-3.2",
		}, 5*time.Minute)
	},
	"hot_nothing": func(dst []byte) []byte {
		return AppendHot(dst, &domain.HotPage{HotSnapshot: domain.HotSnapshot{ID: "loyw3v28-0", TimeMS: timeOf(9)}}, 5*time.Minute)
	},
	"resync_nothing": func(dst []byte) []byte { return AppendResync(dst, nil) },

	"ok":                 func(dst []byte) []byte { return AppendOK(dst, 1) },
	"ok_without_id":      func(dst []byte) []byte { return AppendOK(dst, NoID) },
	"ok_largest_id":      func(dst []byte) []byte { return AppendOK(dst, 1<<53-1) },
	"pong":               func(dst []byte) []byte { return AppendPong(dst, 0, timeOf(0)) },
	"error":              func(dst []byte) []byte { return AppendError(dst, 1, domain.BadField("body[0].url", "is required")) },
	"error_without_id":   func(dst []byte) []byte { return AppendError(dst, NoID, domain.BadField("op", "is required")) },
	"error_retry":        func(dst []byte) []byte { return AppendError(dst, 1, limited) },
	"error_internal":     func(dst []byte) []byte { return AppendError(dst, 1, errors.New("nil map")) },
	"sent":               func(dst []byte) []byte { return AppendSent(dst, 1, domain.Receipt{Accepted: accepted}) },
	"subscribed":         func(dst []byte) []byte { return AppendSubscribed(dst, 1, head, page) },
	"subscribed_to_room": func(dst []byte) []byte { return AppendSubscribed(dst, 1, room, domain.Page{}) },
	"pulled":             func(dst []byte) []byte { return AppendPulled(dst, 1, head, page) },
	"pulled_recalled": func(dst []byte) []byte {
		recalled := page
		recalled.Recalled = []int64{1, 2}
		return AppendPulled(dst, 1, head, recalled)
	},
	"pulled_nothing_recalled": func(dst []byte) []byte {
		return AppendPulled(dst, 1, room, domain.Page{Recalled: []int64{}})
	},
	"pulled_nothing": func(dst []byte) []byte { return AppendPulled(dst, 1, room, domain.Page{}) },
	"read":           func(dst []byte) []byte { return AppendRead(dst, 1, head) },
	"sent_duplicate": func(dst []byte) []byte {
		again := accepted
		again.Duplicate, again.PersistedSeq = true, 9
		return AppendSent(dst, 1, domain.Receipt{Accepted: again, Durable: true})
	},
	"sent_peer_online": func(dst []byte) []byte {
		return AppendSent(dst, 1, domain.Receipt{Accepted: direct, PeerOnline: ptr(true)})
	},
	"sent_peer_offline": func(dst []byte) []byte {
		return AppendSent(dst, 1, domain.Receipt{Accepted: direct, Durable: true, PeerOnline: ptr(false)})
	},
	"presence": func(dst []byte) []byte {
		return AppendPresence(dst, 1, map[string]domain.Presence{
			"cy":  {LastSeenMS: timeOf(3)},
			"ann": {Online: true, Devices: []string{"android", "ios"}},
			"bob": {Online: true},
			"dee": {},
		})
	},
	"presence_of_nobody": func(dst []byte) []byte { return AppendPresence(dst, NoID, nil) },
	"refreshed":          func(dst []byte) []byte { return AppendRefreshed(dst, 1, timeOf(3600)) },
	"synced": func(dst []byte) []byte {
		return AppendSynced(dst, 1, []domain.SyncResult{
			{Group: `a "bad" id`, Err: domain.BadField("groups", "must be an id")},
			{Group: "lobby", Head: room},
			{Group: "secret", Err: domain.Errorf(domain.CodeNotMember, "you are not a member of this group")},
			{Group: "team", Head: head, Page: page},
		})
	},
	"synced_nothing": func(dst []byte) []byte { return AppendSynced(dst, 1, nil) },
	"conversations": func(dst []byte) []byte {
		list := []domain.Conversation{{Head: *head, Last: &full, MentionedSeq: 7}, {Head: *room}}
		return AppendConversationList(dst, 1, list, "1700000008000.team")
	},
	"conversations_end": func(dst []byte) []byte { return AppendConversationList(dst, 1, nil, "") },

	// A message of each type, at its fullest, as it is pushed when it was sent like this.
	"message_text": pushed(`[ {"type":"text", "text":"hi <b> & \"you\"\n\u00e9 😀"}, {"text":"你好","type":"text"} ]`),
	"message_sticker": pushed(`[{"type":"sticker","index":0}, {"type":"sticker","data":"pack-3/7"},
		{"type":"sticker","index":-1,"url":"https://cdn.example.com/s.webp","data":""}]`),
	"message_voice": pushed(`[{"type":"voice","url":"/v1/uploads/k/v.ogg","duration_ms":0,"bytes":9007199254740991}]`),
	"message_image": pushed(`[{"type":"image","url":"https://cdn.example.com/i.png?a=b&c","width":640,"height":480,"bytes":1,
		"thumb_url":"/v1/uploads/k/t.png"}, {"type":"image","url":"http://cdn.example.com/i","width":null}]`),
	"message_video": pushed(`[{"type":"video","url":"/v1/uploads/k/v.mp4","duration_ms":1500,"thumb_url":"/v1/uploads/k/t.png",
		"width":1920,"height":1080,"bytes":0}]`),
	"message_file":     pushed(`[{"type":"file","url":"/v1/uploads/k/a.pdf","name":"Ä plan.pdf","bytes":20971520}]`),
	"message_location": pushed(`[{"type":"location","latitude":-90,"longitude":180.0,"title":""}]`),
	"message_custom": pushed(`[{"type":"custom","data":{"a":[1, 2.50, {"b":null}], "type":"text"},"desc":"d"},
		{"type":"custom","data":null}]`),
}

// pushed is the event of a message with this body.
func pushed(body string) func(dst []byte) []byte {
	return func(dst []byte) []byte {
		accepted, err := Body([]byte(body), DefaultLimits)
		if err != nil {
			panic(err) // the body is the test's own
		}
		return AppendMessage(dst, message(9, func(m *domain.Message) { m.Body = accepted }))
	}
}

func TestAMessageOfEveryTypeIsGolden(t *testing.T) {
	t.Parallel()
	_, err := Body([]byte(`[{"type":"none of them"}]`), DefaultLimits)
	_, listed, _ := strings.Cut(err.Error(), "must be ")
	types := strings.Fields(strings.NewReplacer(",", "", " or ", " ").Replace(listed))
	require.Len(t, types, 8)
	for _, kind := range types {
		require.Contains(t, frames, "message_"+kind)
		require.NotNil(t, newElement(kind))
	}
}

func TestGoldenFrames(t *testing.T) {
	t.Parallel()
	for name, appendTo := range frames {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join("testdata", "golden", name+".json")
			got := appendTo(nil)
			if *update {
				require.NoError(t, os.WriteFile(path, got, 0o644))
			}
			want, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Equal(t, string(want), string(got))
		})
	}
}

func TestGoldenFilesAreAllOfToday(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/golden/*.json")
	require.NoError(t, err)
	require.Len(t, files, len(frames), "a file for each kind, and none left over")
}

func TestWhatIsWrittenIsOneObjectOnOneLine(t *testing.T) {
	t.Parallel()
	for name, appendTo := range frames {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			requireFrameObject(t, appendTo(nil))
			const before = "what is there stays"
			require.Equal(t, before+string(appendTo(nil)), string(appendTo([]byte(before))))
		})
	}
}

// requireFrameObject fails unless this is an object as §3 wants it: no raw newline, id or event first.
func requireFrameObject(t rapid.TB, object []byte) {
	t.Helper()
	require.True(t, json.Valid(object), "%s", object)
	require.False(t, bytes.ContainsAny(object, "\n\r"), "%s", object)
	require.True(t, strings.HasPrefix(string(object), `{"id":`) || strings.HasPrefix(string(object), `{"event":`) ||
		strings.HasPrefix(string(object), `{"ok":`) || strings.HasPrefix(string(object), `{"error":`),
		"id or event comes first in %s", object)
	require.False(t, hasDuplicateNames(object), "%s", object)
}
