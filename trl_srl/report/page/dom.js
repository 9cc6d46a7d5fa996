"use strict";
// Whatever a model or a data set wrote reaches the page as a text node, made here. There is no innerHTML, and no
// attribute that loads or runs something takes its value from data.

const SVG = "http://www.w3.org/2000/svg";

function append(parent, children) {
  for (const child of children.flat(Infinity)) {
    if (child == null || child === false) continue;
    parent.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
  return parent;
}

function build(element, properties, children) {
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value == null || value === false) continue;
    if (name === "on") for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    else if (name === "style") for (const [key, text] of Object.entries(value)) element.style.setProperty(key, text);
    else if (name === "value") element.value = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  return append(element, children);
}

/** An HTML element: h("p", {class: "muted"}, "text", otherElement). */
function h(tag, properties, ...children) {
  return build(document.createElement(tag), properties, children);
}

/** An SVG element. */
function s(tag, properties, ...children) {
  return build(document.createElementNS(SVG, tag), properties, children);
}

function find(id) {
  return document.getElementById(id);
}

const NONE = "–";

function fixed(value, digits = 3) {
  return value == null ? NONE : value.toFixed(digits).replace("-", "−");
}

function percent(value) {
  return value == null ? NONE : `${(100 * value).toFixed(1)} %`;
}

function count(value) {
  return value.toLocaleString("en");
}

/** A few significant digits, for numbers of any size. */
function general(value) {
  if (value == null) return NONE;
  const size = Math.abs(value);
  const text = size !== 0 && (size < 1e-3 || size >= 1e6) ? value.toExponential(2) : String(Number(value.toPrecision(4)));
  return text.replace("-", "−");
}
