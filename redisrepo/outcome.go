package redisrepo

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"hearth/domain"
)

// outcome is what a status word of append.lua means.
func outcome(reply string, s *pendingSend, gen int64) (domain.Accepted, error) {
	word, rest, _ := strings.Cut(reply, " ")
	if err := refusal(word); err != nil {
		return domain.Accepted{}, err
	}
	switch word {
	case "OK", "DUP":
		// Behind an id of our own making only this send can be: a repeat of ours whose reply was lost.
		return accepted(rest, s.Group, gen, word == "DUP" && s.ClientID != "")
	case "CONFLICT":
		return domain.Accepted{}, &domain.Error{Code: domain.CodeConflict, Field: "client_id", Message: "client_id: was used for another message"}
	case "REFUSED":
		return domain.Accepted{}, s.Refused
	case "NO_REPLY":
		return domain.Accepted{}, noSuchMessage()
	case "USER_RATE":
		return domain.Accepted{}, tooFast(milliseconds(rest))
	case "GROUP_RATE":
		return domain.Accepted{}, limited("the group is over its rate", milliseconds(rest))
	case "BACKLOG":
		return domain.Accepted{}, &domain.Error{Code: domain.CodeOverloaded, Message: "too many messages wait to be stored", RetryAfter: time.Second}
	case "FULL":
		return domain.Accepted{}, domain.Full(nil)
	}
	return domain.Accepted{}, fmt.Errorf("append script answered %q", word)
}

func noSuchMessage() error { return domain.BadField("reply_to", "must be the seq of a message") }

// refusal is what a word of standing.lua means, or STRANGER; nil for any other.
func refusal(word string) error {
	switch word {
	case "GONE":
		return domain.Errorf(domain.CodeGone, "the group was dismissed")
	case "NOT_MEMBER":
		return domain.Errorf(domain.CodeNotMember, "you are not a member of this group")
	case "BLOCKED":
		return domain.Errorf(domain.CodeForbidden, "you are blocked in this group")
	case "MUTED":
		return domain.Errorf(domain.CodeMuted, "you are muted in this group")
	case "STRANGER":
		return domain.StrangerLimit()
	}
	return nil
}

func accepted(numbers, group string, gen int64, duplicate bool) (domain.Accepted, error) {
	a := domain.Accepted{Group: group, Gen: gen, Duplicate: duplicate}
	fields := strings.SplitN(numbers, " ", 3)
	if len(fields) != 3 {
		return domain.Accepted{}, fmt.Errorf("append script answered %q", numbers)
	}
	for i, to := range [...]*int64{&a.Seq, &a.TimeMS, &a.PersistedSeq} {
		n, err := strconv.ParseInt(fields[i], 10, 64)
		if err != nil {
			return domain.Accepted{}, fmt.Errorf("append script answered %q: %w", numbers, err)
		}
		*to = n
	}
	return a, nil
}

// milliseconds is 0 for what cannot be read: no advice.
func milliseconds(text string) time.Duration {
	ms, _ := strconv.Atoi(text)
	return time.Duration(ms) * time.Millisecond
}

func tooFast(wait time.Duration) error { return limited("you are sending too fast", wait) }

func limited(message string, wait time.Duration) error {
	return &domain.Error{Code: domain.CodeRateLimited, Message: message, RetryAfter: wait}
}
