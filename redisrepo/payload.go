package redisrepo

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"hearth/domain"
)

// toGroup reads what is published to a group: a line, and behind it the event that clients get.
//
//	m <gen> <seq> <mute>   a message, and the connection that asked for no push of it ('-' for none); behind it the
//	                       content hash, where the body was replaced
//	e <except>             an event, and the connection that does not get it
//	j <user> <version>     an event that this user is a member, as of this version of the group
//	l <user> <version>     an event, behind which this user's subscriptions from before this version of the group end
//	d                      an event, behind which all subscriptions end
//	x <gen> <seq> <ms> <by>  an event that this message was recalled, at this time
//	r <after>              no event; history was repaired above this seq
func (s *Subscriber) toGroup(group, payload string) error {
	first, event, ok := strings.Cut(payload, "\n")
	words := strings.Split(first, " ")
	notice := domain.Notice{Event: []byte(event)}
	switch {
	case !ok:
		return errors.New("a payload without an event")
	case words[0] == "m" && (len(words) == 4 || len(words) == 5):
		return s.published(group, words, event)
	case words[0] == "e" && len(words) == 2:
		notice.Except = orNone(words[1])
	case (words[0] == "j" || words[0] == "l") && len(words) == 3:
		if words[0] == "j" {
			notice.Came = words[1]
		} else {
			notice.Gone = words[1]
		}
		var err error
		if notice.Version, err = strconv.ParseInt(words[2], 10, 64); err != nil {
			return fmt.Errorf("version: %w", err)
		}
	case words[0] == "d" && len(words) == 1:
		notice.Dismissed = true
	case words[0] == "x" && len(words) == 5:
		var err error
		if notice.Recall, err = recallOf(group, words[2:]); err == nil {
			notice.Recall.Gen, err = strconv.ParseInt(words[1], 10, 64)
		}
		if err != nil {
			return fmt.Errorf("recall: %w", err)
		}
	case words[0] == "r" && len(words) == 2:
		notice.Repaired = true
		var err error
		if notice.After, err = strconv.ParseInt(words[1], 10, 64); err != nil {
			return fmt.Errorf("repaired from: %w", err)
		}
	default:
		return errors.New("not a payload of a group")
	}
	s.handler.Noticed(group, notice)
	return nil
}

// recallOf reads '<seq> <ms> <by>'.
func recallOf(group string, words []string) (*domain.Recall, error) {
	r := &domain.Recall{Group: group, By: words[2]}
	var err error
	if r.Seq, err = strconv.ParseInt(words[0], 10, 64); err == nil {
		r.TimeMS, err = strconv.ParseInt(words[1], 10, 64)
	}
	return r, err
}

// noticePayload is how an event is published; Subscriber.toGroup and toUser read it.
func noticePayload(n domain.Notice) string {
	line := "e -"
	switch {
	case n.Dismissed:
		line = "d"
	case n.Repaired:
		line = "r " + strconv.FormatInt(n.After, 10)
	case n.Came != "":
		line = "j " + n.Came + " " + strconv.FormatInt(n.Version, 10)
	case n.Gone != "":
		line = "l " + n.Gone + " " + strconv.FormatInt(n.Version, 10)
	case n.Except != "":
		line = "e " + n.Except
	}
	return line + "\n" + string(n.Event)
}

// orNone is a word, or "" for the dash that stands for none.
func orNone(word string) string {
	if word == "-" {
		return ""
	}
	return word
}

func (s *Subscriber) published(group string, words []string, event string) error {
	p := domain.Push{Group: group, Mute: orNone(words[3]), Event: []byte(event)}
	var err error
	if p.Gen, err = strconv.ParseInt(words[1], 10, 64); err != nil {
		return fmt.Errorf("generation: %w", err)
	}
	if p.Seq, err = strconv.ParseInt(words[2], 10, 64); err != nil {
		return fmt.Errorf("seq: %w", err)
	}
	if len(words) == 5 {
		p.Hash = words[4]
	}
	s.handler.Published(p)
	return nil
}

// toUser reads what is published to a user: 'n', there are notes, or 'e <except>' with an event behind it.
func (s *Subscriber) toUser(user, payload string) error {
	if payload == "n" {
		s.handler.UserNotes(user)
		return nil
	}
	first, event, ok := strings.Cut(payload, "\n")
	except, isEvent := strings.CutPrefix(first, "e ")
	if !ok || !isEvent {
		return errors.New("not a payload of a user")
	}
	s.handler.UserNoticed(user, domain.Notice{Except: orNone(except), Event: []byte(event)})
	return nil
}

// watermarks reads '<gen>' followed by ' <group> <seq>' for each group, or 'gen <gen>', which begins. Ahead of the groups,
// ' !<group> <seq>' is a message that was refused; no id has a '!'.
func (s *Subscriber) watermarks(payload string) error {
	words := strings.Split(payload, " ")
	if words[0] == "gen" {
		s.doubted()
		return nil
	}
	gen, err := strconv.ParseInt(words[0], 10, 64)
	if err != nil {
		return fmt.Errorf("generation of watermarks: %w", err)
	}
	for i := 1; i+1 < len(words); i += 2 {
		seq, err := strconv.ParseInt(words[i+1], 10, 64)
		if err != nil {
			return fmt.Errorf("watermark: %w", err)
		}
		if group, refused := strings.CutPrefix(words[i], "!"); refused {
			s.handler.Refused(group, gen, seq)
		} else {
			s.handler.Persisted(words[i], gen, seq)
		}
	}
	return nil
}
