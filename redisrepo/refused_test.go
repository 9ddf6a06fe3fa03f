package redisrepo

import (
	"testing"

	"github.com/stretchr/testify/require"

	"hearth/domain"
)

// sternWords refuses everything once it is stern.
type sternWords struct{ stern bool }

func (w *sternWords) Body(body []byte) ([]byte, error) {
	if w.stern {
		return nil, domain.Errorf(domain.CodeRejected, "no")
	}
	return body, nil
}

func (*sternWords) Name(string, string) error { return nil }

// A refusal means that nothing was stored: a repeat of what the word list let through is told so, whatever the list says now.
func TestRefusedContentIsAnsweredOnlyAsARepeat(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		r := e.recovery(group("a", domain.Room), group("b", domain.Private, "v"))
		s := e.sender(t, r, AppendConfig{UserRate: 1000, UserBurst: 1000})
		words := &sternWords{}
		s.sends.UseModerator(words)
		first := s.must(t, domain.Draft{Group: "a", From: "u", ClientID: "c1"})
		words.stern = true
		again := s.must(t, domain.Draft{Group: "a", From: "u", ClientID: "c1"})
		require.True(t, again.Duplicate)
		require.Equal(t, first.Seq, again.Seq)
		s.refused(t, domain.CodeConflict, domain.Draft{Group: "a", From: "u", ClientID: "c1", Body: text("other")})
		s.refused(t, domain.CodeRejected, domain.Draft{Group: "a", From: "u", ClientID: "c2"})
		s.refused(t, domain.CodeNotMember, domain.Draft{Group: "b", From: "u", ClientID: "c3"})
		s.refused(t, domain.CodeRejected, domain.Draft{Group: "b", From: "v", ClientID: "c4"})
		require.Empty(t, e.logged(t, "b"))
		words.stern = false
		require.Equal(t, first.Seq+1, s.must(t, domain.Draft{Group: "a", From: "u", ClientID: "c2"}).Seq, "it was not stored")
		require.Equal(t, int64(1), s.must(t, domain.Draft{Group: "b", From: "v"}).Seq)
	})
}

// What is refused opens no conversation, nor does it say that there is none.
func TestRefusedContentOpensNoConversation(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		s := e.sender(t, e.recovery(), AppendConfig{UserRate: 1000, UserBurst: 1000})
		s.sends.UseModerator(&sternWords{stern: true})
		d := to(ab, "ann")
		d.Open, d.ClientID = true, "c1"
		s.refused(t, domain.CodeRejected, d)
		require.Zero(t, e.store.rdb.Exists(t.Context(), groupKey(e.cfg.Partitions.Of(ab), ab)).Val())
	})
}
