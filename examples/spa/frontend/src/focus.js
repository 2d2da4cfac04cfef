/** Where the focus goes when it appears: in place of the button that was pressed, and is gone. */
export const vFocus = { mounted: (element) => element.focus() };
