// Package details owns the JSON object form of ordered details. The Authy API writes details as an object, whose order people see
// and encoding/json forgets; this keeps it in both directions.
package details

import (
	"bytes"
	"encoding/json"
	"fmt"

	"countersign.dev/client/receipt"
)

// Object is a list of fields that is a JSON object on the wire.
type Object []receipt.Field

// MarshalJSON writes the fields in their order. It fails for a name that occurs twice, of which a reader would keep one.
func (o Object) MarshalJSON() ([]byte, error) {
	names := map[string]bool{}
	out := []byte{'{'}
	for i, field := range o {
		if names[field.Name] {
			return nil, fmt.Errorf("detail %q given twice", field.Name)
		}
		names[field.Name] = true
		name, err := json.Marshal(field.Name)
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(field.Value)
		if err != nil {
			return nil, err
		}
		if i > 0 {
			out = append(out, ',')
		}
		out = append(append(append(out, name...), ':'), value...)
	}
	return append(out, '}'), nil
}

// UnmarshalJSON reads an object of scalars in its order. Null and empty text are no fields; another bare scalar is one field without a name.
func (o *Object) UnmarshalJSON(data []byte) error {
	*o = nil
	if data[0] != '{' {
		var value Text
		if err := json.Unmarshal(data, &value); err != nil || value == "" {
			return err
		}
		*o = Object{{Value: string(value)}}
		return nil
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	if _, err := decoder.Token(); err != nil {
		return err
	}
	for decoder.More() {
		name, err := decoder.Token()
		if err != nil {
			return err
		}
		var value Text
		if err := decoder.Decode(&value); err != nil {
			return err
		}
		*o = append(*o, receipt.Field{Name: name.(string), Value: string(value)})
	}
	return nil
}

// Text is a JSON scalar as text: numbers and booleans as they are spelled, null as nothing. Senders differ in how they type ids, and a
// callback's signature does not tell 1 from "1".
type Text string

// UnmarshalJSON fails for an object or an array.
func (t *Text) UnmarshalJSON(data []byte) error {
	switch data[0] {
	case '{', '[':
		return fmt.Errorf("%c in place of a text", data[0])
	case '"':
		return json.Unmarshal(data, (*string)(t))
	case 'n':
		*t = ""
	default:
		*t = Text(data)
	}
	return nil
}
