package client

import (
	"bytes"
	"encoding/json"
	"fmt"
	"unicode/utf8"
)

const maxFrameBytes = 64 << 10 // of what a client may send; a server closes the connection over it

// marshal leaves <, > and & as they are: escaped, they count six bytes each against the body's limit.
func marshal(v any) ([]byte, error) {
	var buf bytes.Buffer
	encoder := json.NewEncoder(&buf)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte{'\n'}), nil
}

// encodeRequest is a request without its opening brace and id: `"op":"…",…}`. What would make the server close the
// connection is refused here, as the request would be repeated on the next connection, and the next.
func encodeRequest(op string, fields any) ([]byte, error) {
	name, err := marshal(op)
	if err != nil {
		return nil, err
	}
	request := append([]byte(`"op":`), name...)
	if fields == nil {
		return append(request, '}'), nil
	}
	object, err := marshal(fields)
	if err != nil {
		return nil, fmt.Errorf("fields of %s: %w", op, err)
	}
	switch {
	case len(object) < 2 || object[0] != '{':
		return nil, fmt.Errorf("fields of %s: %T is no JSON object", op, fields)
	case !utf8.Valid(object):
		return nil, &Error{Code: "bad_request", Message: "the request is not valid UTF-8"}
	case len(object) > 2:
		request = append(request, ',')
	}
	request = append(request, object[1:]...)
	if len(request) > maxFrameBytes-len(`{"id":9007199254740991,`) {
		return nil, &Error{Code: "too_large", Message: fmt.Sprintf("the request has over %d bytes", maxFrameBytes)}
	}
	return request, nil
}
