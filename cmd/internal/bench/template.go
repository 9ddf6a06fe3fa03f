package bench

import (
	"fmt"
	"strings"
)

// Numbers of sends go over the wire with firstNumber added, so that they all have ten digits and a send is the
// template with two places overwritten.
const (
	firstNumber  = 1_000_000_000
	numberDigits = 10
)

// template makes the sends of one connection to one group.
type template struct {
	groupField []byte // as it stands in pushes and acks
	ownField   []byte // what only pushes of these sends have, before their number
	send       []byte // a whole one
	idAt       int    // where its number stands as id,
	clientIDAt int    // and within client_id
}

func newTemplate(group string, user, bytes int) template {
	t := template{
		groupField: fmt.Appendf(nil, `"group":%q`, group),
		ownField:   fmt.Appendf(nil, `"client_id":"c%d-`, user),
	}
	head := `{"id":`
	middle := fmt.Sprintf(`,"op":"send",%s,%s`, t.groupField, t.ownField)
	tail := fmt.Sprintf(`","body":[{"type":"text","text":"%s"}]}`, strings.Repeat("x", bytes))
	blank := strings.Repeat("0", numberDigits)
	t.send = []byte(head + blank + middle + blank + tail)
	t.idAt = len(head)
	t.clientIDAt = t.idAt + numberDigits + len(middle)
	return t
}

// append adds the send of a number.
func (t *template) append(dst []byte, number int) []byte {
	start := len(dst)
	dst = append(dst, t.send...)
	putNumber(dst[start+t.idAt:], number)
	putNumber(dst[start+t.clientIDAt:], number)
	return dst
}

func putNumber(at []byte, number int) {
	v := firstNumber + number
	for i := numberDigits - 1; i >= 0; i-- {
		at[i] = byte('0' + v%10)
		v /= 10
	}
}
